"""What travels between the stages of a build, and the table rows made of it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from storage.schema import split_of
from storage.writer import Signature
from tasks.clips.clip import Clip
from tasks.corpora.records import SourceRecord
from tasks.errors import ItemError

Seconds = dict[str, float]
"""Seconds of work by stage."""


@dataclass(frozen=True)
class Failure:
    """Why a source is quarantined."""

    stage: str
    error: str
    attempts: int = 1

    @classmethod
    def of(cls, error: Exception, stage: str, attempts: int = 1) -> "Failure":
        """From an exception: an ItemError knows its stage, any other one names its type in one line."""
        text = " ".join(str(error).split())[:1000]
        if isinstance(error, ItemError):
            return cls(error.stage, text, attempts)
        return cls(stage, f"{type(error).__name__}: {text}", attempts)


@dataclass(frozen=True)
class DecodedClip:
    """A clip and, where it is kept, its near-lossless mp4."""

    clip: Clip
    video: bytes | None


@dataclass(frozen=True)
class DecodeStep:
    """What a decoder says before each clip (`clip_id`), or at last (`clip_id` is None)."""

    clip_id: str | None
    seconds: Seconds = field(default_factory=dict)
    failure: Failure | None = None


@dataclass(frozen=True)
class Verdict:
    """What became of one clip; its row travels beside it."""

    clip_id: str
    reject_reason: str | None = None
    failure: Failure | None = None


@dataclass(frozen=True)
class Judged:
    """Verdicts of one batch, and the seconds each stage took."""

    verdicts: list[Verdict]
    seconds: Seconds


def add_seconds(total: Seconds, more: Seconds) -> None:
    """Add each stage's seconds to a total."""
    for stage, value in more.items():
        total[stage] = total.get(stage, 0.0) + value


@contextmanager
def timed(seconds: Seconds, stage: str) -> Iterator[None]:
    """Add the time of the block to a stage."""
    started_s = time.perf_counter()
    try:
        yield
    finally:
        add_seconds(seconds, {stage: time.perf_counter() - started_s})


def clip_row(
    decoded: DecodedClip, score: float, scorer: str, latents_nchw: np.ndarray | None, encoder: str
) -> dict[str, Any]:
    """A row of `clips`, or without latents of `rejected` (which has its reason added)."""
    clip = decoded.clip
    return {
        "clip_id": clip.clip_id,
        "source_id": clip.source.source_id,
        "source_uri": clip.source.uri,
        "corpus": clip.source.corpus,
        "kind": clip.source.kind,
        "licence": clip.source.licence,
        "split": split_of(clip.source.source_id),
        "start_s": clip.start_s,
        "fps": clip.fps,
        "num_frames": len(clip.frames_nhwc),
        "caption": clip.captions[0].text,
        "caption_origin": clip.caption_origin,
        "params": clip.params_json,
        "clip_score": score,
        "scorer": scorer,
        "encoder": None if latents_nchw is None else encoder,
        "latents": latents_nchw,
        "video": decoded.video,
    }


def source_row(
    source: SourceRecord, signature: Signature, clips: int, rejected: int, failure: Failure | None
) -> dict[str, Any]:
    """A row of the ledger `sources`."""
    return {
        "source_id": source.source_id,
        "source_uri": source.uri,
        "corpus": source.corpus,
        "kind": source.kind,
        "licence": source.licence,
        **signature._asdict(),
        "clips": clips,
        "rejected": rejected,
        "failed_stage": None if failure is None else failure.stage,
    }


def quarantine_row(source: SourceRecord, failure: Failure) -> dict[str, Any]:
    """A row of `quarantine`."""
    return {
        "source_id": source.source_id,
        "source_uri": source.uri,
        "corpus": source.corpus,
        "kind": source.kind,
        "stage": failure.stage,
        "error": failure.error,
        "attempts": failure.attempts,
    }
