"""One Lance table of a dataset: create it, open it, write fragments anywhere, make them visible in one commit.

Fragments are written by workers and mean nothing until the driver commits their metadata (JSON) once;
what a crash leaves behind uncommitted is never read.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import lance
import pyarrow as pa
import pyarrow.compute as pc
from lance.fragment import FragmentMetadata, write_fragments

from storage.dataset.columns import SOURCE_ID, STATES
from storage.dataset.folder import TEXTS, table_exists, table_path
from storage.dataset.schema import LATER_COLUMNS, LatentShape, rows_table, table_schema, texts_schema
from storage.dataset.table_reader import ADDRESS, UNREADABLE, TableReader, first_line, reading
from storage.errors import StorageError

Fragments = list[str]
"""Metadata of written but uncommitted fragments, as JSON: small, and safe to send between machines."""


class RowRef(NamedTuple):
    """A row as it stands in one version of a table: cheap to send, read where it is needed."""

    dataset_dir: Path
    table: str
    version: int
    row: int


def create_table(dataset_dir: Path, table: str, latent_shape: LatentShape) -> None:
    """Creates an empty table unless it is there already."""
    if not table_exists(dataset_dir, table):
        empty = table_schema(table, latent_shape).empty_table()
        lance.write_dataset(empty, str(table_path(dataset_dir, table)), mode="create")


def complete_columns(dataset_dir: Path, table: str, latent_shape: LatentShape) -> None:
    """Adds the columns that a table of an earlier version lacks, null in all its rows; no row is written for that."""
    dataset = open_table(dataset_dir, table)
    lacking = [
        field
        for field in table_schema(table, latent_shape)
        if field.name in LATER_COLUMNS and field.name not in dataset.schema.names
    ]
    if lacking:
        dataset.add_columns(lacking)


def create_texts(dataset_dir: Path, tokens: int, width: int) -> None:
    """Creates the empty table of text states; StorageError when it is there for states of another shape."""
    if not table_exists(dataset_dir, TEXTS):
        empty = texts_schema(tokens, width).empty_table()
        lance.write_dataset(empty, str(table_path(dataset_dir, TEXTS)), mode="create")
        return
    shape = read_table(dataset_dir, TEXTS).tensor_shape(STATES)
    if shape != (tokens, width):
        raise StorageError(
            f"{table_path(dataset_dir, TEXTS)}: holds text states of shape {shape}, the model's are "
            f"{(tokens, width)}: delete that folder, they are made anew"
        )


def open_table(dataset_dir: Path, table: str, version: int | None = None) -> lance.LanceDataset:
    """Opens the table at a version, by default its newest, to be written or tagged; StorageError when there is none."""
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
    """Opens the table at a version, by default its newest, to be read; StorageError when there is none."""
    return TableReader(open_table(dataset_dir, table, version))


def write_rows(dataset_dir: Path, table: str, rows: Sequence[Mapping[str, Any]]) -> Fragments:
    """Writes rows into new fragments that nobody sees until `commit_rows`; can run on any worker."""
    if not rows:
        return []
    dataset = open_table(dataset_dir, table)
    data = rows_table(rows, dataset.schema)
    fragments = write_fragments(data, dataset.uri, schema=dataset.schema, mode="append")
    return [json.dumps(fragment.to_json()) for fragment in fragments]


def commit_rows(
    dataset_dir: Path, table: str, fragments: Fragments, dropped: Collection[str] = (), key: str = SOURCE_ID
) -> int:
    """Makes fragments visible and, in the same commit, drops the older rows whose `key` is one of `dropped`.

    Returns how many rows were dropped.
    """
    dataset = open_table(dataset_dir, table)
    addresses = _addresses(TableReader(dataset), key, dropped) if dropped else []
    _commit(dataset, fragments, addresses)
    return len(addresses)


def drop_doubles(dataset_dir: Path, table: str, key: str) -> int:
    """Drops all rows but the last of those that share a `key`, in one commit; returns how many."""
    dataset = open_table(dataset_dir, table)
    last: dict[str, int] = {}
    addresses = []
    for batch in TableReader(dataset).batches([key, ADDRESS]):
        for value, address in zip(batch[key].to_pylist(), batch[ADDRESS].to_pylist(), strict=True):
            if value in last:
                addresses.append(last[value])
            last[value] = address
    _commit(dataset, [], addresses)
    return len(addresses)


def _commit(dataset: lance.LanceDataset, fragments: Fragments, dropped: Sequence[int]) -> None:
    """One commit that adds fragments and drops the rows at these addresses; none when there is nothing to do."""
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
    wanted = pa.array(sorted(values), pa.string())
    addresses: list[int] = []
    for batch in reader.batches([key, ADDRESS]):
        found = batch.filter(pc.is_in(batch[key], value_set=wanted))
        addresses += found[ADDRESS].to_pylist()
    return addresses


def _without(dataset: lance.LanceDataset, addresses: Sequence[int]) -> tuple[list[int], list]:
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
