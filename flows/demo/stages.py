"""Shows the stages of a long job to a person at the terminal: which of how many, how long, what came out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psutil

from flows.terminal import FAINT, PLAIN, STRONG, tell_styled
from tasks.units import duration
from vidrd_model.errors import VidrdError


class StageFailed(VidrdError):
    """Says in one line which stage ended with an error, and why."""


class StageLog:
    """Prints and times the stages of one job."""

    def __init__(self, total: int, memory: MemoryWatch | None = None) -> None:
        self.total = total
        self.seconds: dict[str, float] = {}
        self.peak_bytes: dict[str, int] = {}
        self._memory = memory
        self._started_s = time.monotonic()

    @contextmanager
    def stage(self, name: str, about: str) -> Iterator[list[str]]:
        """Gives a list for the lines that say what came out; what goes wrong becomes StageFailed."""
        number = len(self.seconds) + 1
        self._print((f"[{number}/{self.total}] {name}", STRONG), (f"  {about}", PLAIN))
        before_s, outcome = time.monotonic(), list[str]()
        if self._memory is not None:
            self._memory.take_peak()
        try:
            yield outcome
        except Exception as error:
            first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise StageFailed(f"stage {number}/{self.total} ({name}): {first_line}") from error
        self.seconds[name] = round(time.monotonic() - before_s, 2)
        for line in outcome:
            self.say(f"      {line}")
        took, so_far = duration(self.seconds[name]), duration(self.elapsed_s)
        held = ""
        if self._memory is not None:
            self.peak_bytes[name] = self._memory.take_peak()
            held = f", at most {self.peak_bytes[name] / 1e9:.2f} GB"
        self._print((f"      {took}{held}, {so_far} since the start", FAINT))

    @property
    def elapsed_s(self) -> float:
        """The number of seconds since the job began."""
        return time.monotonic() - self._started_s

    def spent(self) -> dict[str, Any]:
        """Returns the seconds and the memory that the stages have taken, as demo.json names them."""
        return {
            "seconds_per_stage": dict(self.seconds),
            "seconds_total": round(self.elapsed_s, 2),
            "peak_memory_bytes": self._memory.peak_bytes if self._memory is not None else 0,
            "peak_memory_bytes_per_stage": dict(self.peak_bytes),
        }

    def say(self, line: str) -> None:
        """Prints a line to standard output."""
        self._print((line, PLAIN))

    def _print(self, *parts: tuple[str, str]) -> None:
        tell_styled(parts, error=False)


def short_path(path: Path) -> str:
    """Returns the path as the user would type it from here, where that is shorter."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


class MemoryWatch:
    """Samples the memory of this process and all its children; `peak_bytes` is the largest sum seen."""

    def __init__(self, every_s: float = 2.0) -> None:
        self.peak_bytes = 0
        self._recent_bytes = 0
        self._every_s = every_s
        self._stop = Event()
        self._thread = Thread(target=self._watch, daemon=True)

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def take_peak(self) -> int:
        """Returns the largest sum seen since it was last asked."""
        # Looked at now too: a stage may be shorter than the pause between two looks.
        recent, self._recent_bytes = max(self._recent_bytes, memory_of_family()), 0
        self.peak_bytes = max(self.peak_bytes, recent)
        return recent

    def _watch(self) -> None:
        while True:
            seen = memory_of_family()
            self.peak_bytes, self._recent_bytes = max(self.peak_bytes, seen), max(self._recent_bytes, seen)
            if self._stop.wait(self._every_s):
                return


def memory_of_family() -> int:
    """Returns the bytes that this process and its children hold, shared pages counted once where known."""
    this = psutil.Process()
    total = 0
    for process in [this, *this.children(recursive=True)]:
        try:
            memory = process.memory_full_info()
        except psutil.Error:  # it has just ended
            continue
        total += getattr(memory, "pss", memory.rss)
    return total
