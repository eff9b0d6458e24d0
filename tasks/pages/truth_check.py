"""Sets what the CLIP filter decided beside what the files of the tiny world really show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from storage.dataset.clip_dataset import ClipDataset
from tasks.tiny.world.truth import Truth

CLIP_COLUMNS = ("row", "clip_id", "source_id", "source_uri", "corpus", "kind", "start_s", "fps", "num_frames")
SHOWN_COLUMNS = (*CLIP_COLUMNS, "caption", "clip_score")


@dataclass(frozen=True)
class CheckedClip:
    """Holds a scored clip, why it was rejected (None: kept) and the truth about its caption."""

    row: Mapping[str, Any]
    reason: str | None
    truth: Truth

    @property
    def wrong(self) -> bool:
        """Says whether the caption was made wrong on purpose."""
        return bool(self.truth.wrong)


def check_clips(dataset: ClipDataset, truths: Iterable[Truth]) -> list[CheckedClip]:
    """Returns every scored clip of a dataset that the truth knows, kept ones first, in table order."""
    known: dict[tuple[str, str], list[Truth]] = {}
    for truth in truths:
        known.setdefault((truth.corpus, truth.file), []).append(truth)
    kept = dataset.clips.read(SHOWN_COLUMNS).to_pylist()
    rejected = dataset.rejected.read((*SHOWN_COLUMNS, "reason")).to_pylist()
    checked = []
    for row in [*kept, *rejected]:
        spans = known.get((row["corpus"], row["source_uri"]))
        if spans:
            checked.append(CheckedClip(row, row.get("reason"), _truth_at(row, spans)))
    return checked


def filter_counts(clips: Iterable[CheckedClip], threshold: float) -> dict[str, Any]:
    """Counts right and wrong captions, kept and rejected; a share is None where there was no such caption."""
    decisions = [(clip.wrong, clip.reason is None) for clip in clips]
    wrong_rejected, wrong = decisions.count((True, False)), sum(is_wrong for is_wrong, _ in decisions)
    right_kept, right = decisions.count((False, True)), len(decisions) - wrong
    return {
        "threshold": threshold,
        "wrong": wrong,
        "wrong_rejected": wrong_rejected,
        "share_wrong_rejected": wrong_rejected / wrong if wrong else None,
        "right": right,
        "right_kept": right_kept,
        "share_right_kept": right_kept / right if right else None,
    }


def _truth_at(row: Mapping[str, Any], spans: list[Truth]) -> Truth:
    """Finds the span that holds the middle of the clip; the last one if the clip reaches beyond all."""
    middle_s = row["start_s"] + row["num_frames"] / row["fps"] / 2
    return next((span for span in spans if span.end_s is None or middle_s < span.end_s), spans[-1])
