"""Reading a finished build's tables in batches, so that a table larger than memory can be counted."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from storage.dataset import ClipDataset
from storage.errors import StorageError
from storage.tables import open_table, with_numbers

if TYPE_CHECKING:
    import lance
    import pyarrow as pa

BATCH_ROWS = 16_384


def count_rows(dataset: ClipDataset, table: str) -> int:
    """Rows of a table in this build."""
    return _open(dataset, table).count_rows()


def batches(
    dataset: ClipDataset, table: str, columns: Sequence[str], batch_rows: int = BATCH_ROWS
) -> "Iterator[pa.Table]":
    """Columns of a table with each row's number `row`, in table order; columns that it lacks are left out."""
    import pyarrow as pa

    source = _open(dataset, table)
    there = [name for name in columns if name in source.schema.names]
    first = 0
    with _reading(source.uri):
        for batch in source.to_batches(columns=there, batch_size=batch_rows):
            yield with_numbers(pa.Table.from_batches([batch]), first)
            first += batch.num_rows


def rows_at(
    dataset: ClipDataset, table: str, row_numbers: Sequence[int], columns: Sequence[str]
) -> list[dict[str, Any]]:
    """Columns of these rows of a table, in the order asked for; None where the table lacks a column."""
    source = _open(dataset, table)
    there = [name for name in columns if name in source.schema.names]
    with _reading(source.uri):
        rows = source.take(list(row_numbers), columns=there).to_pylist()
    return [dict.fromkeys(columns) | row for row in rows]


@contextmanager
def _reading(uri: str) -> Iterator[None]:
    """A file that is gone or broken is the user's to mend."""
    try:
        yield
    except (OSError, ValueError) as error:
        reason = str(error).strip().split("\n", 1)[0][:300]
        raise StorageError(f"{uri}: cannot be read: {reason}") from error


def _open(dataset: ClipDataset, table: str) -> "lance.LanceDataset":
    return open_table(dataset.folder, table, dataset.build.versions[table])
