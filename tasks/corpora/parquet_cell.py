"""One cell of a parquet file, found again through the file's footer."""

from __future__ import annotations

from typing import Any, BinaryIO

from tasks.corpora.records import MediaPlace
from tasks.corpora.tree import reason_of
from tasks.errors import ItemError

KEPT_CHUNK_BYTES = 256 * 2**20
"""A column chunk up to this size is kept for the next cell, for sources come in the order of their rows."""

_kept: dict[tuple[object, ...], Any] = {}  # the chunk read last, by its file's content, row group and column


def read_cell(file: BinaryIO, place: MediaPlace, identity: tuple[object, ...]) -> bytes:
    """The bytes of a cell, reading its row group and column only; ItemError when it is empty or not there.

    `identity` names the file's content: a cell of the same content may come from the chunk read last.
    """
    import pyarrow.parquet as pq

    assert place.row is not None and place.column is not None
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
    if key in _kept:
        return _cell(_kept[key], row)
    chunks = table.metadata.row_group(group)
    size = sum(
        chunks.column(i).total_uncompressed_size
        for i in range(chunks.num_columns)
        if chunks.column(i).path_in_schema == column
    )
    if size <= KEPT_CHUNK_BYTES:
        _kept.clear()
        _kept[key] = table.read_row_group(group, columns=[column]).column(0)
        return _cell(_kept[key], row)
    for batch in table.iter_batches(1, row_groups=[group], columns=[column]):
        if row == 0:
            return _cell(batch.column(0), 0)
        row -= 1
    raise IndexError("the row group has fewer rows than its header says")


def _cell(column: Any, row: int) -> bytes | None:
    value = column[row].as_py()
    return value["bytes"] if isinstance(value, dict) else value
