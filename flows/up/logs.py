"""The logs of `vidrd up`: appended to, and put aside when they have grown."""

from __future__ import annotations

import os
import shutil
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

MAX_BYTES = 10 * 2**20
KEPT = 3


def open_log(path: Path, first_line: str) -> BinaryIO:
    """Opens a log for a process to append to, with a line that says when and what begins here."""
    path.parent.mkdir(parents=True, exist_ok=True)
    log = path.open("ab", buffering=0)
    log.write(f"--- {datetime.now().astimezone().isoformat(timespec='seconds')} {first_line}\n".encode())
    return log


def rotate(path: Path, max_bytes: int = MAX_BYTES) -> None:
    """Copies a log that has outgrown `max_bytes` to NAME.1, older ones to .2 and .3, and empties it.

    Emptied and not renamed, because the process that writes it keeps the file open; it appends, so it goes on at the
    beginning. A line written between the copy and that may be lost.
    """
    copy = path.with_name(f"{path.name}.copy")
    try:
        if path.stat().st_size <= max_bytes:
            return
        shutil.copyfile(path, copy)
        for number in range(KEPT - 1, 0, -1):
            if (older := _numbered(path, number)).exists():
                older.replace(_numbered(path, number + 1))
        copy.replace(_numbered(path, 1))
        os.truncate(path, 0)
    except OSError:  # a full disk does not end the servers: the log goes on as it is until there is room
        copy.unlink(missing_ok=True)


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")
