"""What travels between the stages of a build."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tasks.clips.clip import Clip
from tasks.errors import ItemError
from tasks.filters.signals import ClipSignals

Seconds = dict[str, float]
"""Seconds of work by stage."""


@dataclass(frozen=True)
class Failure:
    """Why a source is quarantined."""

    stage: str
    error: str
    attempts: int = 1

    @classmethod
    def of(cls, error: Exception, stage: str, attempts: int = 1) -> Failure:
        """From an exception: an ItemError knows its stage, any other one names its type in one line."""
        text = " ".join(str(error).split())[:1000]
        if isinstance(error, ItemError):
            return cls(error.stage, text, attempts)
        return cls(stage, f"{type(error).__name__}: {text}", attempts)


@dataclass(frozen=True)
class DecodedClip:
    """A clip with its near-lossless mp4, where one is kept, and what its frames say without any model.

    `measured` are columns that filters asked for (`tasks.filters.measures`).

    The frames of a clip that is kept as mp4 are those of the mp4, so whatever is computed of it can be computed again.
    """

    clip: Clip
    source_digest: str
    video: bytes | None
    signals: ClipSignals
    measured: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DecodeStep:
    """What a decoder says: that it has begun, which clip follows (`clip_id`), and whether it is the last (`ended`).

    `share` is how much of the source it has read, 0..1, as far as can be told.
    """

    clip_id: str | None = None
    ended: bool = False
    source_digest: str | None = None
    seconds: Seconds = field(default_factory=dict)
    failure: Failure | None = None
    share: float = 0.0


@dataclass(frozen=True)
class ClipOutcome:
    """What became of one clip; its row travels beside it."""

    clip_id: str
    reject_reason: str | None = None
    encoded: bool = False
    failure: Failure | None = None


@dataclass(frozen=True)
class ScoredBatch:
    """The outcomes of one batch, and the seconds each stage took."""

    outcomes: list[ClipOutcome]
    seconds: Seconds


def add_seconds(total: Seconds, more: Seconds) -> None:
    """Adds each stage's seconds to a total."""
    for stage, value in more.items():
        total[stage] = total.get(stage, 0.0) + value


@contextmanager
def timed(seconds: Seconds, stage: str, on_gpu: bool = False) -> Iterator[None]:
    """Adds the work of the block to a stage: this process's CPU time, or the time that passed while a GPU worked.

    CPU time, since workers share the processors: the time that passes would count a neighbour's work too.
    """
    clock = time.perf_counter if on_gpu else time.process_time
    started_s = clock()
    try:
        yield
    finally:
        add_seconds(seconds, {stage: clock() - started_s})
