"""Reading a finished build's tables in batches, so that a table larger than memory can be counted."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from storage.dataset.clip_dataset import ClipDataset
from storage.dataset.schema import table_schema
from storage.dataset.table_reader import TableReader
from storage.dataset.tables import read_table, with_numbers

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 16_384
LATENTS_UNREAD = (1, 1, 1, 1)
"""Latents are not read here, so that their shape does not matter to the types of the other columns."""


def count_rows(dataset: ClipDataset, table: str) -> int:
    """Rows of a table in this build."""
    return _open(dataset, table).count_rows()


def batches(
    dataset: ClipDataset, table: str, columns: Sequence[str], batch_rows: int = BATCH_ROWS
) -> "Iterator[pa.Table]":
    """Columns of a table with each row's number `row`, in table order; of columns that it lacks all values are null."""
    import pyarrow as pa

    source = _open(dataset, table)
    there = [name for name in columns if name in source.names]
    schema = table_schema(table, LATENTS_UNREAD)
    first = 0
    for batch in source.batches(there, batch_rows):
        rows = pa.Table.from_batches([batch])
        for name in columns:
            if name not in there:
                rows = rows.append_column(name, pa.nulls(batch.num_rows, schema.field(name).type))
        yield with_numbers(rows, first)
        first += batch.num_rows


def rows_at(
    dataset: ClipDataset, table: str, row_numbers: Sequence[int], columns: Sequence[str]
) -> list[dict[str, Any]]:
    """Columns of these rows of a table, in the order asked for; None where the table lacks a column."""
    source = _open(dataset, table)
    rows = source.take(row_numbers, [name for name in columns if name in source.names]).to_pylist()
    return [dict.fromkeys(columns) | row for row in rows]


def _open(dataset: ClipDataset, table: str) -> TableReader:
    return read_table(dataset.folder, table, dataset.build.versions[table])
