"""The body of a build's writing tasks: rows to fragments that nobody sees until the driver commits them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from storage.tables import Fragments, write_rows
from tasks.build.items import Seconds, timed


def write_clip_rows(dataset_dir: Path, *rows: dict[str, Any]) -> tuple[Fragments, Fragments, Seconds]:
    """Write rows into uncommitted fragments of `clips` and, those with a reason, of `rejected`."""
    seconds: Seconds = {}
    with timed(seconds, "write"):
        clips = write_rows(dataset_dir, "clips", [row for row in rows if row.get("reason") is None])
        rejected = write_rows(dataset_dir, "rejected", [row for row in rows if row.get("reason") is not None])
    return clips, rejected, seconds
