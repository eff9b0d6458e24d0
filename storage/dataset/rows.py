"""Whole rows of `clips` and `rejected` by their number, to be written again elsewhere or with other values."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from storage.dataset.tables import read_table

if TYPE_CHECKING:
    import pyarrow as pa


class RowRef(NamedTuple):
    """A row as it stands in one version of a table: cheap to send, read where it is needed."""

    dataset_dir: Path
    table: str
    version: int
    row: int


def read_rows(refs: Sequence[RowRef], video: bool = True) -> list[dict[str, Any]]:
    """The rows, in the order asked for, as they were given to `write_rows`; without their mp4 if not `video`.

    All references are to one version of one table.
    """
    if not refs:
        return []
    first = refs[0]
    reader = read_table(first.dataset_dir, first.table, first.version)
    numbers = [ref.row for ref in refs]
    data = reader.take(numbers, [name for name in reader.names if name != "video"])
    tensors = {name: _tensors(data[name]) for name in ("latents", "latents_std")}
    rows = data.drop_columns(list(tensors)).to_pylist()
    videos = reader.videos(numbers) if video else [None] * len(rows)
    for index, (row, mp4) in enumerate(zip(rows, videos, strict=True)):
        row["clip_features"] = np.asarray(row["clip_features"], np.float16)
        row |= {name: values[index] for name, values in tensors.items()}
        if video:
            row["video"] = mp4
    return rows


def _tensors(column: "pa.ChunkedArray") -> list[np.ndarray | None]:
    """One array per row of a column of fixed-shape tensors; null stays None."""
    shape = tuple(column.type.shape)
    storage = column.combine_chunks().storage
    return [scalar.values.to_numpy().reshape(shape) if scalar.is_valid else None for scalar in storage]
