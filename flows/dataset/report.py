"""A dataset's report: funnel, scores, samples, times and storage on one page.

vidrd dataset report runs/datasets/tiny --out report.html
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flows.profile import EMBEDDED, load_profile
from storage.dataset.clip_dataset import ClipDataset
from tasks.errors import RequestError
from tasks.output_folders import check_output_file
from tasks.pages.dataset_report import write_dataset_report


def report(dataset_ref: str, out: Path, tried: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Writes the page of `DIR[@TAG]` and says where; RequestError or StorageError when it cannot be done.

    `tried` are thresholds to look at in the place of those in force, by their keys in a profile.
    """
    thresholds = _thresholds(tried or {})
    check_output_file(out, "out")
    dataset = ClipDataset.open(dataset_ref)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_dataset_report(dataset, out, thresholds)
    return {
        "dataset": str(dataset.folder),
        "tag": dataset.tag,
        "report": str(out),
        "bytes": out.stat().st_size,
    }


def _thresholds(tried: Mapping[str, Any]) -> dict[str, Any]:
    prefix = "filter."
    for key in tried:
        if not key.startswith(prefix):
            raise RequestError(f"set: {key}: a report looks at thresholds alone, filter.NAME")
    names = {key.removeprefix(prefix) for key in tried}
    return load_profile(EMBEDDED, tried).filter.model_dump(include=names)
