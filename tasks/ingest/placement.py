"""Where every clip of a dataset belongs, from its columns alone: kept or not and why, and in which split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from storage.dataset.columns import (
    CAPTIONER,
    CLIP_FEATURES,
    CLIP_ID,
    CLIP_SCORE,
    DUPLICATE_OF,
    ENCODER,
    FINGERPRINT,
    HELD_TEXT_AREA,
    INTERLACED,
    NUDITY,
    NUDITY_MODEL,
    NUM_FRAMES,
    PICTURE,
    SCORER,
    SOURCE_ID,
    TEXT_AREA,
    TEXT_FINDER,
)
from storage.dataset.schema import split_of
from tasks.filters.duplicates import find_duplicates, split_groups
from tasks.filters.measures import Measures, unmeasured
from tasks.filters.neighbours import Fingerprints, Looks, MeanFeatures
from tasks.filters.settings import FilterSettings
from tasks.ingest.rows import filter_view

DUPLICATE = "duplicate"
"""The reason of a clip that another one stays for."""

UNMEASURED = "unmeasured"
"""The reason of a clip that a filter which is on could not be asked of: its frames are to be had no more."""

COLUMNS = (
    CLIP_ID,
    SOURCE_ID,
    "kind",
    "split",
    "source_width",
    "source_height",
    "source_duration_s",
    CLIP_SCORE,
    "clip_score_min",
    "aesthetic",
    "motion",
    "jump",
    "brightness",
    "frozen",
    PICTURE,
    INTERLACED,
    TEXT_AREA,
    HELD_TEXT_AREA,
    TEXT_FINDER,
    NUDITY,
    NUDITY_MODEL,
    CAPTIONER,
    "caption_origin",
    DUPLICATE_OF,
    ENCODER,
    SCORER,
)
"""What a placement and the search for stale rows read of a row, beside the evidence of duplicates."""


class Placement(NamedTuple):
    """Why a clip is not kept (None: it is), the clip that stays instead of it, and its split."""

    reason: str | None
    duplicate_of: str | None
    split: str


def evidence_columns(settings: FilterSettings) -> tuple[str, ...]:
    """Gives the columns that near-duplicates are found by; none when they are not looked for."""
    columns = {"off": (), "perceptual": (FINGERPRINT,), "clip": (CLIP_FEATURES, NUM_FRAMES)}
    return columns[settings.duplicates]


def place(
    rows: Sequence[dict[str, Any]],
    settings: FilterSettings,
    official_splits: Mapping[str, str],
    measures: Measures = (),
) -> list[Placement]:
    """Gives the placement of each row, whatever their order; rows hold `COLUMNS` and the evidence columns.

    A row that lacks one of the `measures` which filters ask for is not kept, since nobody knows whether it would pass.

    Sources that share near-duplicates share a split, so that no copy of a training clip is tested on: one that the
    corpora give (test before val before train), else that of the smallest source_id.
    """
    reasons = [_reject_reason(row, settings, measures) for row in rows]
    passed = [row for row, reason in zip(rows, reasons, strict=True) if reason is None]
    twins, groups = _near_duplicates(passed, settings)
    splits = _splits({row[SOURCE_ID] for row in rows}, groups, official_splits)
    placements = []
    for row, reason in zip(rows, reasons, strict=True):
        kept_id = twins.get(row[CLIP_ID]) if reason is None else None
        reason = DUPLICATE if kept_id is not None else reason
        placements.append(Placement(reason, kept_id, splits[row[SOURCE_ID]]))
    return placements


def _reject_reason(row: dict[str, Any], settings: FilterSettings, measures: Measures) -> str | None:
    reason = settings.reject_reason(filter_view(row))
    return UNMEASURED if reason is None and unmeasured(row, measures) else reason


def _near_duplicates(
    rows: Sequence[dict[str, Any]], settings: FilterSettings
) -> tuple[dict[str, str], dict[str, str]]:
    """Clips that are not kept, each with the one that is; and sources that share a group, with its smallest."""
    if settings.duplicates == "off" or not rows:
        return {}, {}
    looks: Looks
    if settings.duplicates == "perceptual":
        looks = Fingerprints([row[FINGERPRINT] for row in rows], settings.max_duplicate_distance)
    else:
        looks = MeanFeatures(np.stack([_mean_features(row) for row in rows]), settings.min_duplicate_cosine)
    clip_ids, source_ids = [row[CLIP_ID] for row in rows], [row[SOURCE_ID] for row in rows]
    return find_duplicates(clip_ids, source_ids, looks), split_groups(clip_ids, source_ids, looks)


def _mean_features(row: dict[str, Any]) -> np.ndarray:
    return np.asarray(row[CLIP_FEATURES], np.float32).reshape(row[NUM_FRAMES], -1).mean(axis=0)


def _splits(source_ids: set[str], groups: Mapping[str, str], official: Mapping[str, str]) -> dict[str, str]:
    said: dict[str, set[str]] = {}
    for source_id in source_ids & official.keys():
        said.setdefault(groups.get(source_id, source_id), set()).add(official[source_id])
    splits = {}
    for source_id in source_ids:
        group = groups.get(source_id, source_id)
        by_corpus = next((split for split in ("test", "val", "train") if split in said.get(group, ())), None)
        splits[source_id] = by_corpus or split_of(group)
    return splits
