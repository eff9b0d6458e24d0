"""Rows to fragments that nobody sees until the driver commits them: a function, and the actor that runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from storage.dataset.tables import Fragments, write_rows
from tasks.ingest.items import Seconds, timed


def write_clip_rows(dataset_dir: Path, *rows: dict[str, Any]) -> tuple[Fragments, Fragments, Seconds]:
    """Write rows into uncommitted fragments of `clips` and, those with a reason, of `rejected`."""
    seconds: Seconds = {}
    with timed(seconds, "write"):
        clips = write_rows(dataset_dir, "clips", [row for row in rows if row.get("reason") is None])
        rejected = write_rows(dataset_dir, "rejected", [row for row in rows if row.get("reason") is not None])
    return clips, rejected, seconds


class RowWriter:
    """An actor for one thing: Ray would start a process anew for every task that comes after a pause."""

    def write(self, dataset_dir: Path, *rows: dict[str, Any]) -> tuple[Fragments, Fragments, Seconds]:
        """See `write_clip_rows`."""
        return write_clip_rows(dataset_dir, *rows)
