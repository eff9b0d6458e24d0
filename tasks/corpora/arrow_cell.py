"""One cell of an Arrow file as the library `datasets` saves it."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from tasks.corpora.records import MediaPlace
from tasks.corpora.tree import reason_of
from tasks.errors import ItemError

SUFFIX = ".arrow"


def checked(batch: Any, names: list[str]) -> Any:
    """Gives some columns of a record batch that was looked through: a damaged one ends the process which reads it."""
    columns = batch.select(names)
    columns.validate(full=True)
    return columns


def read_arrow_cell(place: MediaPlace) -> bytes:
    """Gives the bytes of a cell; ItemError when it is empty or not there. Of other cells nothing is read."""
    assert place.row is not None and place.column is not None
    row, column = place.row, place.column
    try:
        with pa.memory_map(place.url) as file, pa.ipc.open_stream(file) as table:
            name = column if column in table.schema.names else column.rpartition(".")[0]
            for batch in table:
                if row < batch.num_rows:
                    value = checked(batch, [name]).column(name)[row].as_py()
                    break
                row -= batch.num_rows
            else:
                raise IndexError("the file has fewer rows than when it was listed")
        value = value["bytes"] if isinstance(value, dict) else value
    except Exception as error:  # damaged files make Arrow raise nearly anything
        raise ItemError(f"row {place.row}: cannot be read: {reason_of(error)}", stage="read") from None
    if value is None:
        raise ItemError(f"row {place.row}: column {column!r} is empty", stage="read")
    return bytes(value)
