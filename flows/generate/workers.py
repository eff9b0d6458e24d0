"""Whether the clips of a video can be shared out to so many workers."""

from __future__ import annotations

from tasks.errors import RequestError
from tasks.generation.settings import SamplingSettings


def check_workers(workers: int, clips: int, settings: SamplingSettings) -> None:
    """RequestError for more workers than clips, and for a method whose clips come one after another."""
    if workers > 1 and settings.method != "vidrd":
        raise RequestError(f"workers: {settings.method} makes one clip after another; use method vidrd or 1")
    if workers > clips:
        raise RequestError(
            f"workers: a video of {clips} clips has no work for {workers}; use {clips} or less"
        )
