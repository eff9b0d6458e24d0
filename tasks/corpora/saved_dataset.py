"""Folders that `save_to_disk` of the library `datasets` has written: Arrow files with the media in their cells."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator

import pyarrow as pa

from tasks.corpora.arrow_cell import checked
from tasks.corpora.corpus import Corpus
from tasks.corpora.entry import Entry, record_of
from tasks.corpora.listed_files import listed_files
from tasks.corpora.metadata import SPLITS
from tasks.corpora.parquet import parquet_columns, records_of_rows
from tasks.corpora.parquet_rows import batch_values
from tasks.corpora.records import SourceRecord
from tasks.corpora.tree import FoundFile, Tree, reason_of
from tasks.errors import ItemError, RequestError

_SPLITS_FILE = "dataset_dict.json"
_STATE_FILE = "state.json"
_MAX_STATE_BYTES = 16 * 2**20


def is_saved(tree: Tree) -> bool:
    """Tells whether a folder is one of these."""
    return any(tree.find(name).problem is None for name in (_SPLITS_FILE, _STATE_FILE))


def read_saved(corpus: Corpus, tree: Tree, captions_needed: bool = True) -> Iterator[SourceRecord]:
    """Yields the rows as `train/data-00000-of-00002.arrow#row`, each with its split.

    A file that is damaged becomes a source with that problem; RequestError when the folder's own files cannot be read
    or a column is missing.
    """
    folders = [""]
    if tree.find(_SPLITS_FILE).problem is None:
        folders = [f"{split}/" for split in _said(tree, _SPLITS_FILE, "splits")]
    listed: dict[str, Entry] = {}
    for folder in folders:
        split = SPLITS.get(folder.rstrip("/").lower())
        for said in _said(tree, folder + _STATE_FILE, "_data_files"):
            name = posixpath.join(folder, str(said.get("filename") if isinstance(said, dict) else said))
            yield from _rows(corpus, tree, tree.find(name), captions_needed, listed, split)
    yield from listed_files(corpus, tree, listed)


def _rows(
    corpus: Corpus,
    tree: Tree,
    found: FoundFile,
    captions_needed: bool,
    listed: dict[str, Entry],
    split: str | None,
) -> Iterator[SourceRecord]:
    if found.problem is not None:
        yield record_of(corpus, found, Entry())
        return
    try:
        with pa.memory_map(found.url) as file, pa.ipc.open_stream(file) as table:
            where = f"{tree.root}/{found.name}"
            columns = parquet_columns(corpus, where, table.schema, captions_needed)
            names = columns.light()
            rows = batch_values((checked(batch, names) for batch in table), names)
            yield from records_of_rows(corpus, found, columns, rows, listed, split)
    except RequestError:
        raise
    except Exception as error:  # damaged files make Arrow raise nearly anything
        problem = f"cannot be read as Arrow: {reason_of(error)}"
        yield record_of(corpus, found, Entry(problem=problem))


def _said(tree: Tree, name: str, key: str) -> list[object]:
    """Gives a list of one of the JSON files; RequestError when it is not there."""
    problem = tree.find(name).problem
    try:
        if problem is not None:
            raise ValueError(problem)
        with tree.open(name) as file:
            said = json.loads(file.read(_MAX_STATE_BYTES))[key]
        if not isinstance(said, list):
            raise ValueError(f"{key} is no list")
        return said
    except (OSError, ItemError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RequestError(f"{tree.root}/{name}: cannot be read: {reason_of(error)}") from None
