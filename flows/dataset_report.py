"""A dataset's report: funnel, scores, samples, times and storage on one page.

vidrd dataset report runs/datasets/tiny --out report.html
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tasks.errors import RequestError


def report(dataset_ref: str, out: Path) -> dict[str, Any]:
    """Writes the page of `DIR[@TAG]` and says where; RequestError or StorageError when it cannot be done."""
    from storage.dataset import ClipDataset
    from tasks.report.dataset_report import write_dataset_report

    dataset = ClipDataset.open(dataset_ref)
    if out.is_dir():
        raise RequestError(f"out: {out} is a folder; name a file in it")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"out: {out.parent} cannot be made: {error.strerror}") from error
    if not os.access(out.parent, os.W_OK | os.X_OK):
        raise RequestError(f"out: {out.parent} is not writable")
    write_dataset_report(dataset, out)
    return {
        "dataset": str(dataset.folder),
        "tag": dataset.tag,
        "report": str(out),
        "bytes": out.stat().st_size,
    }
