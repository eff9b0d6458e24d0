"""Reading one version of a table: bytes that make no sense are one line about the table, whoever reads them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storage.errors import StorageError

if TYPE_CHECKING:
    import lance
    import pyarrow as pa

UNREADABLE = (OSError, ValueError, RuntimeError)
"""What pylance raises, inside `reading`, on bytes that it cannot make sense of."""


@contextmanager
def reading() -> Iterator[None]:
    """Where files may be damaged: pylance's Rust then panics, which is no Exception, and becomes a RuntimeError."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise RuntimeError(first_line(error)) from error


def first_line(error: BaseException) -> str:
    """The first line of an error's text, cut where it is endless."""
    return str(error).strip().split("\n", 1)[0][:300]


class TableReader:
    """One version of a table; every method raises StorageError, one line, when the files cannot be read."""

    def __init__(self, dataset: "lance.LanceDataset") -> None:
        self._dataset = dataset
        self._path = Path(dataset.uri)

    @property
    def names(self) -> list[str]:
        """The columns."""
        return self._dataset.schema.names

    @property
    def version(self) -> int:
        """Which version it is."""
        return self._dataset.version

    def tensor_shape(self, column: str) -> tuple[int, ...]:
        """The shape of one value of a column of tensors."""
        kind = self._dataset.schema.field(column).type if column in self.names else None
        shape = getattr(kind, "shape", None)
        if shape is None:
            raise StorageError(f"{self._path}: has no column {column} of tensors")
        return tuple(shape)

    def count_rows(self, condition: str | None = None) -> int:
        """The rows, or those that meet a condition."""
        with self._readable():
            return self._dataset.count_rows(condition)

    def to_table(
        self, columns: Sequence[str] | None = None, condition: str | None = None, limit: int | None = None
    ) -> "pa.Table":
        """Columns of all rows in table order, or of those that meet a condition."""
        with self._readable():
            names = None if columns is None else list(columns)
            return _valid(self._dataset.to_table(columns=names, filter=condition, limit=limit))

    def batches(
        self, columns: Sequence[str], batch_rows: int | None = None, addresses: bool = False
    ) -> "Iterator[pa.RecordBatch]":
        """The same in batches; with the rows' addresses, as `_rowaddr`, if these are asked for."""
        options: dict[str, Any] = {} if batch_rows is None else {"batch_size": batch_rows}
        with self._readable():
            for batch in self._dataset.to_batches(
                columns=list(columns), with_row_address=addresses, **options
            ):
                yield _valid(batch)

    def take(self, rows: Sequence[int], columns: Sequence[str]) -> "pa.Table":
        """Columns of the rows of these numbers, in the order asked for."""
        with self._readable():
            return _valid(self._dataset.take([int(row) for row in rows], columns=list(columns)))

    def videos(self, rows: Sequence[int]) -> list[bytes | None]:
        """The mp4 of the rows of these numbers; None where none is kept."""
        with self._readable():
            files = self._dataset.take_blobs("video", indices=[int(row) for row in rows])
            return [None if file is None else file.readall() for file in files]

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            with reading():
                yield
        except UNREADABLE as error:
            raise StorageError(
                f"{self._path}: cannot be read: {first_line(error)}; vidrd dataset verify {self._path.parent} says "
                "which rows"
            ) from error


def _valid(data: Any) -> Any:
    """The rows, looked through: a damaged text is else found out where somebody makes use of it."""
    data.validate(full=True)
    return data
