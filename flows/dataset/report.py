"""A dataset's report: funnel, scores, samples, times and storage on one page.

vidrd dataset report runs/datasets/tiny --out report.html
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flows.profile import split_thresholds
from storage.dataset.clip_dataset import ClipDataset
from tasks.errors import RequestError
from tasks.ingest.thresholds import checked_thresholds
from tasks.output_folders import check_output_file
from tasks.pages.dataset_report import write_dataset_report


def report(
    dataset_ref: str, out: Path, tried: Mapping[str, Any] | None = None, dry_run: bool = False
) -> dict[str, Any]:
    """Writes the page of `DIR[@TAG]` and says where; RequestError or StorageError when it cannot be done.

    `tried` are thresholds to look at in the place of those in force, by their keys in a profile.
    """
    tried_here, others = split_thresholds(tried or {})
    if others:
        raise RequestError(f"set: {next(iter(others))}: a report looks at thresholds alone, filter.NAME")
    thresholds = checked_thresholds(tried_here)
    check_output_file(out, "out")
    dataset = ClipDataset.open(dataset_ref)
    of = {"dataset": str(dataset.folder), "tag": dataset.tag}
    if dry_run:
        return {"dry_run": True} | of | {"would_write": str(out)}
    out.parent.mkdir(parents=True, exist_ok=True)
    write_dataset_report(dataset, out, thresholds)
    return of | {"report": str(out), "bytes": out.stat().st_size}
