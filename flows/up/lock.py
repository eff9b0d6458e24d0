"""One `vidrd up` for each `$VIDRD_HOME`: a file that it keeps locked, in which it says who it is.

The kernel gives the lock back when its holder ends, however it ends: what the file says counts only while it is held.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from flows.up.processes import ProcessId
from storage.local.home import home
from tasks.errors import RequestError


class UpLock:
    """The right to run `vidrd up` for a home, held until `release` or the end of this process."""

    def __init__(self) -> None:
        self._fd: int | None = None

    def acquire(self) -> bool:
        """Whether it is ours now; a second one of the same home does not get it."""
        path = lock_file()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise RequestError(f"VIDRD_HOME: {home()} cannot be used: {error.strerror}") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        os.ftruncate(fd, 0)
        os.write(fd, str(ProcessId.of(os.getpid())).encode())
        self._fd = fd
        return True

    def is_held(self) -> bool:
        """Whether it is still ours: with the home its file is removed, and the next one locks another file."""
        if self._fd is None:
            return False
        try:
            return os.path.samestat(os.fstat(self._fd), lock_file().stat())
        except OSError:
            return False

    def release(self) -> None:
        """Gives it back; the file stays, since another may wait for it."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def holder() -> ProcessId | None:
    """Who holds the lock, or held it last."""
    try:
        return ProcessId.parse(lock_file().read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return None


def lock_file() -> Path:
    """The file that a running `vidrd up` keeps locked."""
    return home() / "up.lock"
