"""Manifests: tables that give files their captions, among them those of WebVid, OpenVid, Panda-70M and Open-Sora."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from tasks.corpora.columns import Columns, find_columns, find_metadata_columns
from tasks.corpora.corpus import Corpus
from tasks.corpora.entry import Entry
from tasks.corpora.json_tables import LINES_SUFFIXES, WHOLE_SUFFIX, json_rows
from tasks.corpora.parquet_rows import parquet_rows
from tasks.corpora.table_entries import add_row
from tasks.corpora.tables import Row, table_rows
from tasks.corpora.tree import Tree
from tasks.errors import RequestError

MANIFEST_NAMES = ("manifest.tsv", "manifest.csv")
JSON_SUFFIXES = (*LINES_SUFFIXES, WHOLE_SUFFIX)


def read_manifest(
    corpus: Corpus, tree: Tree, name: str, captions_needed: bool = True, is_metadata: bool = False
) -> dict[str, Entry]:
    """Reads a table with a file and a caption in each row, and times or a licence where it has them.

    Its paths are relative to it, those of the entries to the corpus. Several rows of one file add up, in their order.
    A bad row becomes its entry's `problem`, with its line; RequestError when the table itself cannot be read or lacks
    a column, that of captions only if they are needed or it is named. Metadata without names of files give nothing.
    """
    entries: dict[str, Entry] = {}
    columns: Columns | None = None
    header: object = None
    for row in _rows(corpus, tree, name):
        if row.header != header:
            is_first, header = header is None, row.header
            where = f"{tree.root}/{name}"
            try:
                if is_metadata:
                    columns = columns or find_metadata_columns(corpus, where, row)
                else:
                    columns = find_columns(corpus, where, row.header, captions_needed)
            except RequestError:
                # Objects need not have the same fields; what the first one lacks is the table's own fault.
                if is_first and row.problem is None:
                    raise
        if columns is not None:
            add_row(entries, columns, row, name, tree.root)
        elif is_metadata:
            return {}
    return entries


def _rows(corpus: Corpus, tree: Tree, name: str) -> Iterator[Row]:
    suffix = posixpath.splitext(name)[1].lower()
    if suffix == ".parquet":
        return parquet_rows(tree, name, corpus.encoding)
    return (json_rows if suffix in JSON_SUFFIXES else table_rows)(tree, name, corpus.encoding)
