"""What one file may be and cost, by the profile's `[limits]`: over any of them it is quarantined, and told which."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import psutil
from pydantic import BaseModel, ConfigDict, Field

from tasks.errors import ItemError

FRAMES_PER_LOOK = 8
"""Between two looks at the memory of the process, which take as long as small frames do."""


class LimitSettings(BaseModel):
    """Limits of one file; None is no limit, beyond what always holds (600 MB an image, 36 million pixels a frame)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_pixels: int | None = Field(
        None, ge=1, description="pixels of an image, or of a frame of a video, at most"
    )
    max_frames: int | None = Field(None, ge=1, description="frames in one video, at most")
    max_seconds: float | None = Field(None, gt=0, description="length of one video in seconds, at most")
    max_memory_mb: int | None = Field(
        None,
        ge=1,
        description="by how many million bytes decoding one file may make its process grow, at most",
    )

    def refuse_over(self, name: str, limit: str, value: float, unit: str) -> None:
        """Raises ItemError (stage `limits`), which names the limit, when a file's value is over it."""
        most = getattr(self, limit)
        if most is not None and value > most:
            raise ItemError(
                f"{name}: {value:.15g} {unit}, over the limit {limit} = {most:g} of [limits]", stage="limits"
            )


class _Memory:
    """Looks at what the process has taken since it began with a file."""

    def __init__(self, limits: LimitSettings) -> None:
        self._limits, self._process, self._frames = limits, psutil.Process(), 0
        self._before_bytes = self._process.memory_info().rss

    def look(self, name: str) -> None:
        self._frames += 1
        if self._frames % FRAMES_PER_LOOK == 1:
            grown_bytes = self._process.memory_info().rss - self._before_bytes
            self._limits.refuse_over(
                name, "max_memory_mb", round(grown_bytes / 1e6), "MB of memory in its decoder"
            )


_memory: ContextVar[_Memory | None] = ContextVar("memory", default=None)


@contextmanager
def memory_limited(limits: LimitSettings) -> Iterator[None]:
    """While it is open, frames that are decoded are told to `look_at_memory`, which refuses by these limits."""
    _memory.set(None if limits.max_memory_mb is None else _Memory(limits))
    try:
        yield
    finally:
        _memory.set(None)


def look_at_memory(name: str) -> None:
    """Raises ItemError (stage `limits`) when the process has grown too much over the file of this name."""
    memory = _memory.get()
    if memory is not None:
        memory.look(name)
