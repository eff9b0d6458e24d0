"""Counts the captions of a dataset that a model reads the beginning of only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from storage.dataset.columns import CAPTION
from storage.dataset.folder import CLIP_TABLES
from storage.dataset.tables import read_table
from tasks.captions.cut_captions import CONDITIONING, SCORING, count_cut


def count_cut_captions(dataset_dir: Path, model: str, clip_model: str) -> dict[str, Any]:
    """Counts them as `count_cut` does: for conditioning in `clips`, for scoring in `rejected` too."""
    texts = {CONDITIONING: _captions(dataset_dir, "clips"), SCORING: _captions(dataset_dir, *CLIP_TABLES)}
    return count_cut(model, clip_model, texts)


def _captions(dataset_dir: Path, *tables: str) -> Iterator[str]:
    for table in tables:
        for batch in read_table(dataset_dir, table).batches([CAPTION]):
            yield from batch[CAPTION].to_pylist()
