"""What travels between the stages of a build, and the table rows made of it."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from storage.dataset.schema import split_of
from storage.dataset.writer import Signature
from tasks.captions.scoring import ClipScore
from tasks.clips.clip import Clip
from tasks.corpora.records import SourceRecord
from tasks.errors import ItemError
from tasks.filters.signals import ClipSignals
from tasks.latents.encoder import Latents

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
    """A clip with its near-lossless mp4, where one is kept, and what its frames say without any model.

    The frames of a clip that is kept as mp4 are those of the mp4, so whatever is computed of it can be computed again.
    """

    clip: Clip
    source_digest: str
    video: bytes | None
    signals: ClipSignals


@dataclass(frozen=True)
class DecodeStep:
    """What a decoder says: that it has begun, which clip follows (`clip_id`), and whether it is the last (`ended`)."""

    clip_id: str | None = None
    ended: bool = False
    source_digest: str | None = None
    seconds: Seconds = field(default_factory=dict)
    failure: Failure | None = None


@dataclass(frozen=True)
class Verdict:
    """What became of one clip; its row travels beside it."""

    clip_id: str
    reject_reason: str | None = None
    encoded: bool = False
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
def timed(seconds: Seconds, stage: str, on_gpu: bool = False) -> Iterator[None]:
    """Add the work of the block to a stage: this process's CPU time, or the time that passed while a GPU worked.

    CPU time, since workers share the processors: the time that passes would count a neighbour's work too.
    """
    clock = time.perf_counter if on_gpu else time.process_time
    started_s = clock()
    try:
        yield
    finally:
        add_seconds(seconds, {stage: clock() - started_s})


def clip_row(decoded: DecodedClip, score: ClipScore, aesthetic: float | None, scorer: str) -> dict[str, Any]:
    """A row of `clips` that has no latents yet; `reason` is added to one of `rejected`."""
    clip, signals = decoded.clip, decoded.signals
    caption = clip.captions[score.caption]
    return {
        "clip_id": clip.clip_id,
        "source_id": clip.source.source_id,
        "source_uri": clip.source.uri,
        "source_digest": decoded.source_digest,
        "corpus": clip.source.corpus,
        "kind": clip.source.kind,
        "licence": clip.source.licence,
        "split": clip.source.split or split_of(clip.source.source_id),
        "start_s": clip.start_s,
        "fps": clip.fps,
        "num_frames": len(clip.frames_nhwc),
        "source_width": clip.source_width,
        "source_height": clip.source_height,
        "source_duration_s": clip.source_duration_s,
        "caption": caption.text,
        "caption_given": caption.text if caption.given is None else caption.given,
        "caption_origin": clip.caption_origin,
        "params": clip.params_json,
        **score_columns(score, aesthetic, scorer),
        "motion": signals.motion,
        "jump": signals.jump,
        "brightness": signals.brightness,
        "frozen": signals.frozen,
        "fingerprint": signals.fingerprint,
        "duplicate_of": None,
        **latent_columns(None, None),
        "video": decoded.video,
    }


def score_columns(score: ClipScore, aesthetic: float | None, scorer: str) -> dict[str, Any]:
    """The columns that CLIP decides."""
    return {
        "clip_score": score.mean,
        "clip_score_min": score.minimum,
        "clip_features": score.frame_features.reshape(-1),
        "aesthetic": aesthetic,
        "scorer": scorer,
    }


def latent_columns(latents: Latents | None, encoder: str | None) -> dict[str, Any]:
    """The columns that the VAE decides."""
    return {
        "latents": None if latents is None else latents.mean_nchw,
        "latents_std": None if latents is None else latents.std_nchw,
        "encoder": encoder,
    }


def filter_view(row: dict[str, Any]) -> dict[str, Any]:
    """What the filters read of a row: its columns, and the size and duration of its source by the filters' names."""
    return row | {
        "source_side": min(row["source_width"], row["source_height"]),
        "source_duration": row["source_duration_s"],
    }


def source_row(
    source: SourceRecord, signature: Signature, digest: str | None, clips: int, failure: Failure | None
) -> dict[str, Any]:
    """A row of the ledger `sources`."""
    return {
        "source_id": source.source_id,
        "source_uri": source.uri,
        "place": json.dumps(asdict(source.place)),
        "source_digest": digest,
        "corpus": source.corpus,
        "kind": source.kind,
        "licence": source.licence,
        "split": source.split,
        **signature._asdict(),
        "clips": clips,
        "failed_stage": None if failure is None else failure.stage,
    }


def quarantine_row(source: SourceRecord, failure: Failure, attempts_before: int) -> dict[str, Any]:
    """A row of `quarantine`."""
    return {
        "source_id": source.source_id,
        "source_uri": source.uri,
        "corpus": source.corpus,
        "kind": source.kind,
        "stage": failure.stage,
        "error": failure.error,
        "attempts": attempts_before + failure.attempts,
    }
