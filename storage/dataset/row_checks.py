"""What can be wrong with a row by itself: each check takes a batch and yields (index in it, what is wrong)."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from storage.dataset.columns import (
    CAPTION,
    CLIP_FEATURES,
    CLIP_ID,
    CLIP_SCORE,
    ENCODER,
    HELD_TEXT_AREA,
    INTERLACED,
    KINDS,
    LATENTS,
    LATENTS_STD,
    NUDITY,
    NUM_FRAMES,
    PICTURE,
    REASON,
    SCORER,
    SOURCE_DIGEST,
    SOURCE_ID,
    SOURCE_URI,
    SPLITS,
    STATES,
    TEXT_AREA,
    TEXT_ENCODER,
)
from storage.dataset.folder import CLIP_TABLES
from storage.dataset.schema import LatentShape

Complaint = tuple[int, str]


_TEXT_OF_ANY_CLIP = (
    CLIP_ID,
    SOURCE_ID,
    SOURCE_URI,
    SOURCE_DIGEST,
    "corpus",
    "licence",
    CAPTION,
    "caption_origin",
)
_TEXTS = {
    "clips": (*_TEXT_OF_ANY_CLIP, SCORER, ENCODER),
    "rejected": (*_TEXT_OF_ANY_CLIP, REASON),
    "quarantine": (SOURCE_ID, SOURCE_URI, "corpus", "stage", "error"),
    "sources": (SOURCE_ID, SOURCE_URI, "place", "corpus", "licence", "labels", "settings"),
    "texts": (CAPTION, TEXT_ENCODER),
}
_SIGNALS = (CLIP_SCORE, "clip_score_min", "aesthetic", "motion", "jump", "brightness", "frozen")
_LATER_SIGNALS = (PICTURE, INTERLACED, TEXT_AREA, HELD_TEXT_AREA, NUDITY)
_LEAST = {"start_s": 0.0, "source_duration_s": 0.0, "source_width": 1, "source_height": 1, "attempts": 1}


def row_complaints(table: str, batch: pa.Table, latent_shape: LatentShape) -> Iterator[Complaint]:
    """Gives everything that is wrong with the rows of a batch, without their videos."""
    for name in _TEXTS[table]:
        yield from _empty(batch, name)
    if table == "texts":
        yield from _not_finite(batch, STATES)
        return
    yield from _unknown(batch, "kind", KINDS)
    for name, least in _LEAST.items():
        if name in batch.schema.names:
            yield from _below(batch, name, least)
    if table in CLIP_TABLES:
        yield from _clip_complaints(table, batch, latent_shape)


def _clip_complaints(table: str, batch: pa.Table, latent_shape: LatentShape) -> Iterator[Complaint]:
    yield from _unknown(batch, "split", SPLITS)
    yield from _unknown(batch, NUM_FRAMES, latent_shape[:1])
    required = ("start_s", "fps", CLIP_SCORE, LATENTS) if table == "clips" else ("start_s", "fps")
    for name in required:
        yield from ((index, f"{name} is missing") for index in _rows(batch[name].is_null()))
    yield from ((index, "fps is not above 0") for index, fps in _numbers(batch, "fps") if not fps > 0)
    later = [name for name in _LATER_SIGNALS if name in batch.schema.names]
    for name in ("start_s", "fps", *_SIGNALS, *later):
        bad = (index for index, value in _numbers(batch, name) if not np.isfinite(value))
        yield from ((index, f"{name} is not finite") for index in bad)
    for name in (LATENTS, LATENTS_STD):
        yield from _not_finite(batch, name)
    yield from _features_not_finite(batch)
    yield from _not_json(batch, "params")
    if table == "rejected":
        has_latents = batch[LATENTS].is_valid().to_pylist()
        yield from ((index, what) for index, what in _empty(batch, ENCODER) if has_latents[index])


def _empty(batch: pa.Table, name: str) -> Iterator[Complaint]:
    values = batch[name].to_pylist()
    yield from ((index, f"{name} is empty") for index, value in enumerate(values) if not value)


def _unknown(batch: pa.Table, name: str, known: Sequence[Any]) -> Iterator[Complaint]:
    for index, value in enumerate(batch[name].to_pylist()):
        if value not in known:
            yield index, f"{name} is {value!r}, not {' or '.join(map(str, known))}"


def _below(batch: pa.Table, name: str, least: float) -> Iterator[Complaint]:
    for index, value in _numbers(batch, name):
        if value < least:
            yield index, f"{name} is {value:g}, less than {least:g}"


def _not_json(batch: pa.Table, name: str) -> Iterator[Complaint]:
    for index, value in enumerate(batch[name].to_pylist()):
        try:
            json.loads(value)
        except (ValueError, TypeError):
            yield index, f"{name} is not JSON"


def _not_finite(batch: pa.Table, name: str) -> Iterator[Complaint]:
    """Of a column of tensors, those that are there."""
    column = batch[name].combine_chunks()
    there = _rows(column.is_valid())
    if len(there):
        flat = column.storage.flatten().to_numpy().reshape(len(there), -1)
        bad = there[~np.isfinite(flat).all(axis=1)]
        yield from ((index, f"{name} are not all finite") for index in bad.tolist())


def _features_not_finite(batch: pa.Table) -> Iterator[Complaint]:
    for index, values in enumerate(batch[CLIP_FEATURES]):
        if values.is_valid and not np.isfinite(values.values.to_numpy()).all():
            yield index, "clip_features are not all finite"


def _numbers(batch: pa.Table, name: str) -> Iterator[tuple[int, float]]:
    return ((index, value) for index, value in enumerate(batch[name].to_pylist()) if value is not None)


def _rows(mask: pa.ChunkedArray) -> np.ndarray:
    return np.flatnonzero(mask.to_numpy(zero_copy_only=False))
