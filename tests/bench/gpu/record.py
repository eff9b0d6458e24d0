"""The rows of a part: printed as a table and written as JSON, each as soon as it is measured."""

from __future__ import annotations

import json
import platform
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from tests.bench.tables import print_head, print_row


class OutOfTime(BaseException):
    """A part has had its seconds. No Exception: a compiler would tell it as an error of its own."""


class Record:
    """Takes the rows of one part, which has so many seconds from now on."""

    def __init__(self, part: str, file: Path | None, seconds: float) -> None:
        where = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {platform.machine()}"
        self._file, self._seconds = file, seconds
        self._columns: tuple[str, ...] = ()
        self._told: dict[str, Any] = {
            "part": part,
            "device": where,
            "torch": torch.__version__,
            "rows": [],
            "notes": [],
        }
        self.until_s = time.monotonic() + seconds
        print(f"{part}: {where}, torch {torch.__version__}\n", flush=True)
        self._write()

    @property
    def left_s(self) -> float:
        """The seconds that the part still has."""
        return self.until_s - time.monotonic()

    def head(self, *columns: str) -> None:
        """Begins a table."""
        self._columns = columns
        print()
        print_head(*columns)

    def row(self, *cells: object) -> None:
        """Adds a row to the table."""
        print_row(*cells)
        self._told["rows"].append(dict(zip(self._columns, map(str, cells), strict=True)))
        self._write()

    def note(self, line: str) -> None:
        """Adds a line that is no row."""
        print(f"\n{line}", flush=True)
        self._told["notes"].append(line)
        self._write()

    @contextmanager
    def time_limit(self) -> Iterator[None]:
        """Raises OutOfTime in the main thread when the part has had its seconds, whatever it is at."""

        def stop(_: int, __: FrameType | None) -> None:
            raise OutOfTime

        before = signal.signal(signal.SIGALRM, stop)
        signal.setitimer(signal.ITIMER_REAL, max(self.left_s, 0.001))
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    def _write(self) -> None:
        if self._file is not None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.write_text(json.dumps(self._told, indent=1), encoding="utf-8")
