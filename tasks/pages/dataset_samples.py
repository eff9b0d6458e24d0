"""Picks the clips that a dataset's report shows: a few of each corpus, each reason and the near-duplicates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from storage.dataset.clip_dataset import ClipDataset
from storage.dataset.table_reader import ROW
from tasks.clips.video_io import decode_bytes
from tasks.errors import ItemError
from tasks.pages.dataset_counts import DatasetCounts, Sample
from tasks.pages.thumbnails import Thumbnail, moving_thumbnail

SHOWN_GROUPS = 24
THUMB_PX = 112
NO_PIXELS = "no pixels kept"
_COLUMNS = ("clip_id", "corpus", "kind", "caption", "clip_score", "fps", "duplicate_of")


@dataclass(frozen=True)
class SampleGroups:
    """Holds thumbnails by corpus and by reason, the largest groups first, and near-duplicates beside what stays."""

    kept: Mapping[str, Sequence[Thumbnail]]
    rejected: Mapping[str, Sequence[Thumbnail]]
    duplicates: Sequence[tuple[Thumbnail, Thumbnail | None]]


def show_samples(dataset: ClipDataset, counts: DatasetCounts) -> SampleGroups:
    """Reads and decodes the chosen clips, a few at a time."""
    corpora = sorted(counts.kept_samples, key=lambda name: -counts.corpora[name].kept)
    reasons = sorted(counts.rejected_samples, key=lambda name: -counts.reasons[name].total())
    return SampleGroups(
        {name: _thumbnails(dataset, counts.kept_samples[name], _score) for name in corpora[:SHOWN_GROUPS]},
        {
            name: _thumbnails(dataset, counts.rejected_samples[name], _corpus_and_score)
            for name in reasons[:SHOWN_GROUPS]
        },
        _pairs(dataset, counts.duplicate_samples),
    )


def _pairs(dataset: ClipDataset, duplicates: Sequence[Sample]) -> list[tuple[Thumbnail, Thumbnail | None]]:
    rows = [row for sample in duplicates for row in _rows(dataset, [sample])]
    originals = _find(dataset, {row["duplicate_of"] for row in rows})
    pairs = []
    for sample, row in zip(duplicates, rows, strict=True):
        (duplicate,) = _thumbnails(dataset, [sample], _corpus_and_score)
        original = originals.get(row["duplicate_of"])
        stays = _thumbnails(dataset, [original], _corpus_and_score)[0] if original else None
        pairs.append((duplicate, stays))
    return pairs


def _find(dataset: ClipDataset, clip_ids: set[str]) -> dict[str, Sample]:
    """Finds where the kept clips of these ids are."""
    found = dataset.clips.read([ROW, "clip_id"], where={"clip_id": clip_ids}).to_pylist() if clip_ids else []
    return {row["clip_id"]: Sample("clips", row[ROW], row["clip_id"]) for row in found}


def _rows(dataset: ClipDataset, samples: Sequence[Sample]) -> list[dict[str, Any]]:
    if not samples:
        return []
    table = dataset.table(samples[0].table)
    return table.take([sample.row for sample in samples], _COLUMNS, fill=True).to_pylist()


def _thumbnails(
    dataset: ClipDataset, samples: Sequence[Sample], note: Callable[[Mapping[str, Any]], str]
) -> list[Thumbnail]:
    """Makes thumbnails of samples that are all in one table."""
    rows = _rows(dataset, samples)
    numbers = [sample.row for sample in samples]
    videos = dataset.table(samples[0].table).videos(numbers) if samples else []
    return [
        Thumbnail(image, row["caption"] or "", note(row), missing=missing)
        for row, (image, missing) in zip(rows, map(_picture, rows, videos), strict=True)
    ]


def thumbnail_of(dataset: ClipDataset, table: str, row: int, note: str) -> Thumbnail:
    """Makes the thumbnail of one row with these words under it."""
    (thumbnail,) = _thumbnails(dataset, [Sample(table, row, "")], lambda _: note)
    return thumbnail


def _picture(row: Mapping[str, Any], video: bytes | None) -> tuple[str | None, str]:
    """Returns a moving picture, or none and why."""
    if video is None:
        return None, NO_PIXELS
    try:
        frames_nhwc, fps = decode_bytes(video)
    except ItemError as error:
        return None, f"cannot be decoded: {error}"[:120]
    return moving_thumbnail(frames_nhwc, row["fps"] or fps, THUMB_PX), ""


def _score(row: Mapping[str, Any]) -> str:
    return "not scored" if row["clip_score"] is None else f"CLIP {row['clip_score']:.3f}"


def _corpus_and_score(row: Mapping[str, Any]) -> str:
    return f"{row['corpus']} \u00b7 {_score(row)}"
