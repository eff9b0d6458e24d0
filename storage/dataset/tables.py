"""One Lance table of a dataset: create, open, write fragments anywhere, make them visible in one commit.

Fragments are written by workers and mean nothing until the driver commits their metadata (JSON) once;
what a crash leaves behind uncommitted is never read.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storage.dataset.schema import TEXTS, LatentShape, rows_table, table_schema, texts_schema
from storage.dataset.table_reader import UNREADABLE, TableReader, first_line, reading
from storage.errors import StorageError
from storage.local.folders import is_address

if TYPE_CHECKING:
    import lance
    import pyarrow as pa

Fragments = list[str]
"""Metadata of written but uncommitted fragments, as JSON: small, and safe to send between machines."""


def table_path(dataset_dir: Path, table: str) -> Path:
    """The folder of one of the dataset's tables."""
    return dataset_dir / f"{table}.lance"


def table_exists(dataset_dir: Path, table: str) -> bool:
    """Whether the table has ever been committed to."""
    return (table_path(dataset_dir, table) / "_versions").is_dir()


def check_is_dataset(folder: Path) -> None:
    """StorageError when the folder holds no dataset."""
    if is_address(folder):
        raise StorageError(f"{folder}: is an address, and a dataset has to be a local folder")
    try:
        there = table_exists(folder, "clips")
    except OSError as error:
        raise StorageError(f"{folder}: cannot be read: {error.strerror}") from error
    if not there:
        raise StorageError(
            f"{folder.absolute()}: is not a dataset (no clips.lance in it); vidrd build-dataset makes one"
        )


def create_table(dataset_dir: Path, table: str, latent_shape: LatentShape) -> None:
    """Create an empty table unless it is there already."""
    import lance

    if not table_exists(dataset_dir, table):
        empty = table_schema(table, latent_shape).empty_table()
        lance.write_dataset(empty, str(table_path(dataset_dir, table)), mode="create")


def create_texts(dataset_dir: Path, tokens: int, width: int) -> None:
    """Create the empty table of text states; StorageError when it is there for states of another shape."""
    import lance

    if not table_exists(dataset_dir, TEXTS):
        empty = texts_schema(tokens, width).empty_table()
        lance.write_dataset(empty, str(table_path(dataset_dir, TEXTS)), mode="create")
        return
    shape = read_table(dataset_dir, TEXTS).tensor_shape("states")
    if shape != (tokens, width):
        raise StorageError(
            f"{table_path(dataset_dir, TEXTS)}: holds text states of shape {shape}, the model's are "
            f"{(tokens, width)}: delete that folder, they are made anew"
        )


def open_table(dataset_dir: Path, table: str, version: int | None = None) -> "lance.LanceDataset":
    """The table at a version, by default its newest, to be written or tagged; StorageError when there is none."""
    import lance

    path = table_path(dataset_dir, table)
    try:
        with reading():
            dataset = lance.dataset(str(path), version=version)
            len(dataset.schema)  # it is made when it is first asked for, and a damaged one cannot be
            bases = [base.path for base in dataset.base_paths().values()]
    except UNREADABLE as error:
        which = "" if version is None else f" at version {version}"
        raise StorageError(f"{path}: cannot be read as a Lance table{which}: {first_line(error)}") from error
    if bases:
        # Whoever made it would have us read other folders, or ask an address with the user's keys.
        raise StorageError(f"{path}: its data lie elsewhere too ({bases[0]}), and a dataset is one folder")
    return dataset


def read_table(dataset_dir: Path, table: str, version: int | None = None) -> TableReader:
    """The same, to be read."""
    return TableReader(open_table(dataset_dir, table, version))


def write_rows(dataset_dir: Path, table: str, rows: Sequence[Mapping[str, Any]]) -> Fragments:
    """Write rows into new fragments that nobody sees until `commit_rows`; can run on any worker."""
    from lance.fragment import write_fragments

    if not rows:
        return []
    dataset = open_table(dataset_dir, table)
    data = rows_table(rows, dataset.schema)
    fragments = write_fragments(data, dataset.uri, schema=dataset.schema, mode="append")
    return [json.dumps(fragment.to_json()) for fragment in fragments]


def commit_rows(
    dataset_dir: Path, table: str, fragments: Fragments, dropped: Collection[str] = (), key: str = "source_id"
) -> int:
    """Make fragments visible and, in the same commit, drop the older rows whose `key` is one of `dropped`.

    Returns how many rows were dropped.
    """
    dataset = open_table(dataset_dir, table)
    addresses = _addresses(TableReader(dataset), key, dropped) if dropped else []
    _commit(dataset, fragments, addresses)
    return len(addresses)


def drop_doubles(dataset_dir: Path, table: str, key: str) -> int:
    """Drop all rows but the last of those that share a `key`, in one commit; returns how many."""
    dataset = open_table(dataset_dir, table)
    last: dict[str, int] = {}
    addresses = []
    for batch in TableReader(dataset).batches([key], addresses=True):
        for value, address in zip(batch[key].to_pylist(), batch["_rowaddr"].to_pylist(), strict=True):
            if value in last:
                addresses.append(last[value])
            last[value] = address
    _commit(dataset, [], addresses)
    return len(addresses)


def column_values(dataset_dir: Path, table: str, column: str) -> set[Any]:
    """The distinct values of a column in the table's newest version."""
    values: set[Any] = set()
    for batch in read_table(dataset_dir, table).batches([column]):
        values.update(batch.column(0).to_pylist())
    return values


def numbered_rows(dataset_dir: Path, table: str, columns: Sequence[str]) -> "pa.Table":
    """Columns of all rows in table order, with their numbers `row` and the `version` these hold for."""
    import numpy as np
    import pyarrow as pa

    reader = read_table(dataset_dir, table)
    data = with_numbers(reader.to_table(columns))
    return data.append_column("version", pa.array(np.full(data.num_rows, reader.version, np.int64)))


def with_numbers(rows: "pa.Table", first: int = 0) -> "pa.Table":
    """Rows read in table order, with their numbers `row` in the table, by which they are taken; int64."""
    import numpy as np
    import pyarrow as pa

    return rows.append_column("row", pa.array(np.arange(first, first + rows.num_rows, dtype=np.int64)))


def _commit(dataset: "lance.LanceDataset", fragments: Fragments, dropped: Sequence[int]) -> None:
    """One commit that adds fragments and drops the rows at these addresses; none when there is nothing to do."""
    import lance
    from lance.fragment import FragmentMetadata

    new = [FragmentMetadata.from_json(fragment) for fragment in fragments]
    removed_ids, updated = _without(dataset, dropped)
    if removed_ids or updated:
        operation = lance.LanceOperation.Update(
            removed_fragment_ids=removed_ids, updated_fragments=updated, new_fragments=new
        )
    elif new:
        operation = lance.LanceOperation.Append(new)
    else:
        return
    lance.LanceDataset.commit(dataset.uri, operation, read_version=dataset.version)


def _addresses(reader: TableReader, key: str, values: Collection[str]) -> list[int]:
    """Where the rows with these values are; one scan, since a predicate per fragment is a hundred times slower."""
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = pa.array(sorted(values), pa.string())
    addresses: list[int] = []
    for batch in reader.batches([key], addresses=True):
        found = batch.filter(pc.is_in(batch[key], value_set=wanted))
        addresses += found["_rowaddr"].to_pylist()
    return addresses


def _without(dataset: "lance.LanceDataset", addresses: Sequence[int]) -> tuple[list[int], list]:
    """Fragments that vanish and fragments that shrink when the rows at these addresses go."""
    in_fragment: dict[int, list[int]] = {}
    for address in addresses:
        in_fragment.setdefault(address >> 32, []).append(address)
    removed_ids: list[int] = []
    updated: list = []
    for fragment_id, rows in in_fragment.items():
        fragment = dataset.get_fragment(fragment_id)
        assert fragment is not None  # the addresses come from this very version
        after = None
        if len(rows) < fragment.count_rows():
            after = fragment.delete(f"_rowaddr IN ({', '.join(map(str, rows))})")
        if after is None:
            removed_ids.append(fragment_id)
        else:
            updated.append(after)
    return removed_ids, updated
