"""The rows of a dataset's tables: made of what the stages of a build hand on, and written where nobody sees them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storage.dataset.columns import (
    CAPTION,
    CAPTION_CHOICE,
    CAPTIONS,
    CLIP_FEATURES,
    CLIP_ID,
    CLIP_SCORE,
    DUPLICATE_OF,
    ENCODER,
    FINGERPRINT,
    INTERLACED,
    LATENTS,
    LATENTS_STD,
    NUM_FRAMES,
    PICTURE,
    REASON,
    SCORER,
    SOURCE_DIGEST,
    SOURCE_FILMS,
    SOURCE_ID,
    SOURCE_URI,
)
from storage.dataset.schema import split_of
from storage.dataset.tables import Fragments, write_rows
from storage.dataset.writer import Signature
from tasks.corpora.records import SourceRecord
from tasks.ingest.items import DecodedClip, Failure, Seconds, timed

if TYPE_CHECKING:
    from tasks.captions.scoring import ClipScore
    from tasks.latents.encoder import Latents


def clip_row(decoded: DecodedClip, score: ClipScore, aesthetic: float | None, scorer: str) -> dict[str, Any]:
    """Makes a row of `clips` that has no latents yet; `reason` is added to one of `rejected`."""
    clip, signals = decoded.clip, decoded.signals
    caption = clip.captions[score.caption]
    return {
        CLIP_ID: clip.clip_id,
        SOURCE_ID: clip.source.source_id,
        SOURCE_URI: clip.source.uri,
        SOURCE_DIGEST: decoded.source_digest,
        "corpus": clip.source.corpus,
        "kind": clip.source.kind,
        "licence": clip.source.licence,
        "split": clip.source.split or split_of(clip.source.source_id),
        "start_s": clip.start_s,
        "fps": clip.fps,
        NUM_FRAMES: len(clip.frames_nhwc),
        "source_width": clip.source_width,
        "source_height": clip.source_height,
        "source_duration_s": clip.source_duration_s,
        CAPTION: caption.text,
        "caption_given": caption.text if caption.given is None else caption.given,
        "caption_origin": clip.caption_origin,
        CAPTIONS: [given.text for given in clip.drawn_from or clip.captions],
        CAPTION_CHOICE: "drawn" if clip.drawn_from else "best" if len(clip.captions) > 1 else None,
        "params": clip.params_json,
        **score_columns(score, aesthetic, scorer),
        "motion": signals.motion,
        "jump": signals.jump,
        "brightness": signals.brightness,
        "frozen": signals.frozen,
        **decoded.measured,
        PICTURE: signals.picture,
        INTERLACED: clip.interlaced,
        SOURCE_FILMS: clip.source_films,
        FINGERPRINT: signals.fingerprint,
        DUPLICATE_OF: None,
        **latent_columns(None, None),
        "video": decoded.video,
    }


def score_columns(score: ClipScore, aesthetic: float | None, scorer: str) -> dict[str, Any]:
    """Gives the columns that CLIP decides."""
    return {
        CLIP_SCORE: score.mean,
        "clip_score_min": score.minimum,
        CLIP_FEATURES: score.frame_features.reshape(-1),
        "aesthetic": aesthetic,
        SCORER: scorer,
    }


def latent_columns(latents: Latents | None, encoder: str | None) -> dict[str, Any]:
    """Gives the columns that the VAE decides."""
    return {
        LATENTS: None if latents is None else latents.mean_nchw,
        LATENTS_STD: None if latents is None else latents.std_nchw,
        ENCODER: encoder,
    }


def filter_view(row: dict[str, Any]) -> dict[str, Any]:
    """Gives what the filters read of a row: its columns, and its source's size and duration by the filters' names."""
    return row | {
        "source_side": min(row["source_width"], row["source_height"]),
        "source_duration": row["source_duration_s"],
    }


def source_row(
    source: SourceRecord, signature: Signature, digest: str | None, clips: int, failure: Failure | None
) -> dict[str, Any]:
    """Makes a row of the ledger `sources`."""
    return {
        SOURCE_ID: source.source_id,
        SOURCE_URI: source.uri,
        "place": json.dumps(asdict(source.place)),
        SOURCE_DIGEST: digest,
        "corpus": source.corpus,
        "kind": source.kind,
        "licence": source.licence,
        "split": source.split,
        **signature._asdict(),
        "clips": clips,
        "failed_stage": None if failure is None else failure.stage,
    }


def quarantine_row(source: SourceRecord, failure: Failure, attempts_before: int) -> dict[str, Any]:
    """Makes a row of `quarantine`."""
    return {
        SOURCE_ID: source.source_id,
        SOURCE_URI: source.uri,
        "corpus": source.corpus,
        "kind": source.kind,
        "stage": failure.stage,
        "error": failure.error,
        "attempts": attempts_before + failure.attempts,
    }


def write_clip_rows(dataset_dir: Path, *rows: dict[str, Any]) -> tuple[Fragments, Fragments, Seconds]:
    """Writes rows into uncommitted fragments of `clips` and, those with a reason, of `rejected`."""
    seconds: Seconds = {}
    with timed(seconds, "write"):
        clips = write_rows(dataset_dir, "clips", [row for row in rows if row.get(REASON) is None])
        rejected = write_rows(dataset_dir, "rejected", [row for row in rows if row.get(REASON) is not None])
    return clips, rejected, seconds
