"""No build takes a dataset's last clip unless it is told to: a threshold of another CLIP model would do just that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from storage.dataset.builds import finished_builds
from storage.dataset.columns import CLIP_ID, CLIP_SCORE, OWNER
from storage.dataset.removed import removed_rules
from storage.dataset.tables import read_table
from storage.dataset.writer import DatasetWriter
from tasks.errors import RequestError
from tasks.ingest.placement import Placement
from tasks.ingest.thresholds import SET_HERE, Thresholds


def refuse_to_empty(
    writer: DatasetWriter,
    placed: Sequence[tuple[Mapping[str, Any], Placement]],
    unavailable: Collection[str],
    leaving: Collection[str],
    thresholds: Thresholds,
) -> None:
    """Raises RequestError when no clip would be left of a dataset that has some; before a row is moved.

    `placed` are the rows, with the `table` they are in, and where they belong; of those to be kept the `unavailable`
    clip_ids cannot be encoded. Sources that are `leaving` have no row among them.
    """
    if any(
        placement.reason is None and (row["table"] == "clips" or row[CLIP_ID] not in unavailable)
        for row, placement in placed
    ):
        return
    clips = _clips_before(writer)
    if clips:
        why = "; ".join(_reasons(placed, unavailable, leaving, thresholds))
        raise RequestError(
            f"dataset: {writer.dataset_dir}: none of its {clips} clips would be left ({why}); its last build stays "
            f"the newest. For other thresholds: vidrd dataset refilter {writer.dataset_dir} --clip-threshold X, or "
            "--reset for the profile's; --allow-empty does it all the same"
        )


def _clips_before(writer: DatasetWriter) -> int:
    """Clips of the last finished build without those that were taken down since, or what a build under way has."""
    return _clips_not_removed(writer.dataset_dir) or writer.table("clips").count_rows()


def _clips_not_removed(dataset_dir: Path) -> int:
    builds = finished_builds(dataset_dir)
    if not builds:
        return 0
    rules = removed_rules(dataset_dir)
    clips = read_table(dataset_dir, "clips", builds[-1].versions["clips"])
    if not rules:
        return clips.count_rows()
    return sum(
        not rules.is_removed(*row)
        for batch in clips.batches(OWNER)
        for row in zip(*(batch[name].to_pylist() for name in OWNER), strict=True)
    )


def _reasons(
    placed: Sequence[tuple[Mapping[str, Any], Placement]],
    unavailable: Collection[str],
    leaving: Collection[str],
    thresholds: Thresholds,
) -> list[str]:
    reasons = []
    if leaving:
        reasons.append(f"{len(leaving)} sources are no longer in the corpora")
    rejected = Counter(placement.reason for _, placement in placed if placement.reason is not None)
    for reason, count in rejected.most_common():
        more = ""
        if reason == CLIP_SCORE:
            scores = [row[CLIP_SCORE] for row, placement in placed if placement.reason == reason]
            origin = SET_HERE if "clip_threshold" in thresholds.set_here else "the profile's"
            more = (
                f", best {max(scores):.2f}, clip_threshold {thresholds.settings.clip_threshold:g}, {origin}"
            )
        reasons.append(f"{count} rejected by {reason}{more}")
    if unavailable:
        reasons.append(f"{len(unavailable)} cannot be encoded: their sources are gone or have changed")
    return reasons
