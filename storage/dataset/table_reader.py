"""The one way to read rows: a table at one version, by columns, by row numbers, or row by row with all its columns.

What is read in batches needs memory for a batch only. Bytes that make no sense become one line about the table,
whoever reads them.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from storage.dataset.columns import CLIP_FEATURES, LATENTS, LATENTS_STD
from storage.dataset.schema import column_type
from storage.errors import StorageError

ROW = "row"
"""The column of a row's number in its version of the table, by which it is taken; int64."""

ADDRESS = "_rowaddr"
"""The column of the address that Lance deletes a row by."""

BATCH_ROWS = 8192

UNREADABLE = (OSError, ValueError, RuntimeError)
"""What pylance raises, inside `reading`, on bytes that it cannot make sense of."""

Where = Mapping[str, Collection[str]]
"""Values by column: a row counts if it has one of them in each column."""

OnDamage = Callable[[int, int, str], None]
"""Takes the first and the last number of rows that cannot be read, and why."""


@contextmanager
def reading() -> Iterator[None]:
    """Turns a panic of pylance's Rust, which is no Exception, into a RuntimeError: files may be damaged."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise RuntimeError(first_line(error)) from error


def first_line(error: BaseException) -> str:
    """Gives the first line of an error's text, cut where it is endless."""
    return str(error).strip().split("\n", 1)[0][:300]


class TableReader:
    """One version of a table; every method raises StorageError, one line, when the files cannot be read.

    Columns are asked for by name; `ROW` and `ADDRESS` may be among them wherever rows are read in table order.
    """

    def __init__(self, dataset: lance.LanceDataset) -> None:
        self._dataset = dataset
        self._path = Path(dataset.uri)

    @property
    def schema(self) -> pa.Schema:
        """The columns with their types."""
        return self._dataset.schema

    @property
    def names(self) -> list[str]:
        """The columns."""
        return self._dataset.schema.names

    @property
    def version(self) -> int:
        """Which version it is."""
        return self._dataset.version

    def tensor_shape(self, column: str) -> tuple[int, ...]:
        """Gives the shape of one value of a column of tensors."""
        kind = self.schema.field(column).type if column in self.names else None
        shape = getattr(kind, "shape", None)
        if shape is None:
            raise StorageError(f"{self._path}: has no column {column} of tensors")
        return tuple(shape)

    def count_rows(self, condition: str | None = None) -> int:
        """Counts the rows, or those that meet a condition."""
        with self._readable():
            return self._dataset.count_rows(condition)

    def batches(
        self,
        columns: Sequence[str],
        where: Where | None = None,
        batch_rows: int = BATCH_ROWS,
        fill: bool = False,
    ) -> Iterator[pa.Table]:
        """Reads columns in table order, a batch at a time; `fill` makes nulls of a column that the table lacks."""
        where = where or {}
        wanted = dict.fromkeys([*columns, *where])
        lacking = [name for name in wanted if fill and name not in (*self.names, ROW, ADDRESS)]
        stored = [name for name in wanted if name not in (ROW, ADDRESS, *lacking)]
        first = 0
        with self._readable():
            # One column at least, or the scan has no rows to count.
            for batch in self._dataset.to_batches(
                columns=stored or self.names[:1], with_row_address=ADDRESS in wanted, batch_size=batch_rows
            ):
                rows = _numbered(pa.Table.from_batches([_valid(batch)]), first)
                first += batch.num_rows
                for name in lacking:
                    rows = rows.append_column(
                        name, pa.nulls(rows.num_rows, column_type(self._path.stem, name))
                    )
                for name, values in where.items():
                    rows = rows.filter(pc.is_in(rows[name], pa.array(sorted(values), rows[name].type)))
                yield rows.select(list(dict.fromkeys(columns)))

    def read(self, columns: Sequence[str] | None = None, where: Where | None = None) -> pa.Table:
        """Reads columns, by default all, of all rows or of those that `where` names, into memory."""
        columns = self.names if columns is None else columns
        batches = list(self.batches(columns, where))
        return pa.concat_tables(batches) if batches else self._empty(columns)

    def distinct(self, column: str) -> set[Any]:
        """Gives the distinct values of a column."""
        values: set[Any] = set()
        for batch in self.batches([column]):
            values.update(batch[column].to_pylist())
        return values

    def take(self, rows: Sequence[int], columns: Sequence[str], fill: bool = False) -> pa.Table:
        """Reads columns of the rows of these numbers, in the order asked for."""
        stored = [name for name in columns if name in self.names or not fill]
        with self._readable():
            taken = _valid(self._dataset.take([int(row) for row in rows], columns=stored))
        for name in columns:
            if name not in stored:
                taken = taken.append_column(
                    name, pa.nulls(taken.num_rows, column_type(self._path.stem, name))
                )
        return taken.select(list(columns))

    def take_batches(
        self, batches: Iterable[Sequence[int]], columns: Sequence[str], ahead: int = 16, fill: bool = False
    ) -> Iterator[pa.Table]:
        """Reads columns of each batch of rows, in the order asked for; `fill` as for `batches`.

        `ahead` batches are read in one sorted take: six times as fast as one by one, for as much more memory.
        """
        waiting = iter(batches)
        while group := list(islice(waiting, ahead)):
            numbers = np.concatenate([np.asarray(batch, np.int64) for batch in group])
            ascending, position = np.unique(numbers, return_inverse=True)
            table = self.take(ascending.tolist(), columns, fill)
            first = 0
            for batch in group:
                yield table.take(pa.array(position[first : first + len(batch)]))
                first += len(batch)

    def tensors(self, rows: Sequence[int], column: str) -> np.ndarray:
        """Reads a column of tensors of these rows as one array."""
        return self.take(rows, [column])[column].combine_chunks().to_numpy_ndarray()

    def videos(self, rows: Sequence[int]) -> list[bytes | None]:
        """Reads the near-lossless mp4 of these rows; None where none is kept (images)."""
        with self._readable():
            files = self._dataset.take_blobs("video", indices=[int(row) for row in rows])
            return [None if file is None else file.readall() for file in files]

    def whole_rows(self, rows: Sequence[int], video: bool = True) -> list[dict[str, Any]]:
        """Reads rows of `clips` or `rejected` as they were given to `write_rows`; without their mp4 if not `video`."""
        data = self.take(rows, [name for name in self.names if name != "video"])
        tensors = {name: _tensors(data[name]) for name in (LATENTS, LATENTS_STD)}
        whole = data.drop_columns(list(tensors)).to_pylist()
        videos = self.videos(rows) if video else [None] * len(whole)
        for index, (row, mp4) in enumerate(zip(whole, videos, strict=True)):
            row[CLIP_FEATURES] = np.asarray(row[CLIP_FEATURES], np.float16)
            row |= {name: values[index] for name, values in tensors.items()}
            if video:
                row["video"] = mp4
        return whole

    def batches_past_damage(
        self, columns: Sequence[str], batch_rows: int, on_damage: OnDamage
    ) -> Iterator[pa.Table]:
        """Reads columns with `ROW`, and goes on with the next fragment where one cannot be read."""
        first = 0
        for fragment in self._dataset.get_fragments():
            row, end = first, first + fragment.physical_rows - fragment.num_deletions
            try:
                scan = fragment.scanner(columns=list(columns), batch_size=batch_rows, batch_readahead=2)
                with reading():
                    for batch in filter(len, scan.to_batches()):
                        yield _numbered(pa.Table.from_batches([_valid(batch)]), row)
                        row += batch.num_rows
            except UNREADABLE as error:
                files = ", ".join(file.path for file in fragment.data_files())
                on_damage(row, end - 1, f"({files}): {first_line(error)}")
            first = end

    def videos_past_damage(self, rows: Sequence[int]) -> Iterator[bytes | Exception | None]:
        """Reads the same as `videos`, one by one where these cannot be read together; an error in place of an mp4."""
        try:
            with reading():
                files = self._dataset.take_blobs("video", indices=list(rows))
        except UNREADABLE as error:
            if len(rows) == 1:
                yield error
                return
            for row in rows:
                yield from self.videos_past_damage([row])
            return
        for file in files:
            try:
                with reading():
                    yield None if file is None else file.readall()
            except UNREADABLE as error:
                yield error

    def _empty(self, columns: Sequence[str]) -> pa.Table:
        kinds = {ROW: pa.int64(), ADDRESS: pa.uint64()}
        return pa.schema(
            [(name, kinds[name] if name in kinds else self.schema.field(name).type) for name in columns]
        ).empty_table()

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
    """Looks through the rows: a damaged text is else found out where somebody makes use of it."""
    data.validate(full=True)
    return data


def _numbered(rows: pa.Table, first: int) -> pa.Table:
    return rows.append_column(ROW, pa.array(np.arange(first, first + rows.num_rows, dtype=np.int64)))


def _tensors(column: pa.ChunkedArray) -> list[np.ndarray | None]:
    """One array per row of a column of fixed-shape tensors; null stays None."""
    shape = tuple(column.type.shape)
    storage = column.combine_chunks().storage
    return [scalar.values.to_numpy().reshape(shape) if scalar.is_valid else None for scalar in storage]
