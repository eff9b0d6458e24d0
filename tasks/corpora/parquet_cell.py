"""One cell of a parquet file, found again through the file's footer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.corpora.arrow_cell import SUFFIX as ARROW_SUFFIX
from tasks.corpora.arrow_cell import read_arrow_cell
from tasks.corpora.records import MediaPlace
from tasks.corpora.tree import reason_of
from tasks.errors import ItemError

KEPT_CHUNK_BYTES = 256 * 2**20
"""A column chunk up to this size is kept for the next cell, for sources come in the order of their rows."""

CELLS_PER_BATCH = 16
_kept: dict[tuple[object, ...], Any] = {}  # the chunk read last, by its file's content, row group and column


def read_cell(file: BinaryIO, place: MediaPlace, identity: tuple[object, ...]) -> bytes:
    """Gives the bytes of a cell, reading its row group and column only; ItemError when it is empty or not there.

    `identity` names the file's content: a cell of the same content may come from the chunk read last.
    """
    assert place.row is not None and place.column is not None
    if place.url.endswith(ARROW_SUFFIX):
        return read_arrow_cell(place)
    try:
        with pq.ParquetFile(file) as table:
            group, row = _row_group(table.metadata, place.row)
            value = _value(table, group, row, place.column, identity)
    except ItemError:
        raise
    except Exception as error:  # damaged files make Arrow raise nearly anything
        raise ItemError(f"row {place.row}: cannot be read: {reason_of(error)}", stage="read") from None
    if value is None:
        raise ItemError(f"row {place.row}: column {place.column!r} is empty", stage="read")
    return bytes(value)


def _row_group(metadata: Any, row: int) -> tuple[int, int]:
    for group in range(metadata.num_row_groups):
        rows = metadata.row_group(group).num_rows
        if row < rows:
            return group, row
        row -= rows
    raise IndexError("the file has fewer rows than when it was listed")


def _value(table: Any, group: int, row: int, column: str, identity: tuple[object, ...]) -> bytes | None:
    key = (*identity, group, column)
    if key not in _kept:
        _kept.clear()
        _kept[key] = _chunk(table, group, column)
    if _kept[key] is not None:
        return _cell(_kept[key], row)
    for cells in _cells(table, group, column):
        if row < len(cells):
            return _cell(cells, row)
        row -= len(cells)
    raise IndexError("the row group has fewer rows than its header says")


def _chunk(table: Any, group: int, column: str) -> Any:
    """Gives a column of a row group, None when it is too large to be kept.

    Its size is counted as it is read: the footer may lie, and where its statistics are damaged, asking it for the
    metadata of a column ends the process (Arrow throws where nothing can catch).
    """
    parts, size_bytes = [], 0
    for cells in _cells(table, group, column):
        parts.append(cells)
        size_bytes += cells.nbytes
        if size_bytes > KEPT_CHUNK_BYTES:
            return None
    return pa.chunked_array(parts)


def _cells(table: Any, group: int, column: str) -> Iterator[Any]:
    for batch in table.iter_batches(CELLS_PER_BATCH, row_groups=[group], columns=[column]):
        yield batch.column(0)


def _cell(column: Any, row: int) -> bytes | None:
    value = column[row].as_py()
    return value["bytes"] if isinstance(value, dict) else value
