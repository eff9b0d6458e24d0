"""Manifests: CSV and TSV tables that give files their captions, among them those of WebVid, OpenVid and Panda-70M."""

from __future__ import annotations

import posixpath

from tasks.corpora.columns import find_columns
from tasks.corpora.corpus import Corpus
from tasks.corpora.entry import Entry
from tasks.corpora.table_entries import add_row
from tasks.corpora.tables import table_rows
from tasks.corpora.tree import Tree

MANIFEST_NAMES = ("manifest.tsv", "manifest.csv")


def read_manifest(corpus: Corpus, tree: Tree, name: str, captions_needed: bool = True) -> dict[str, Entry]:
    """Reads a table with a file and a caption in each row, and times or a licence where it has them.

    Several rows of one file add up, in their order. A bad row becomes its entry's `problem`, with its line;
    RequestError when the table itself cannot be read or lacks a column, that of captions only if they are needed or
    it is named.
    """
    entries: dict[str, Entry] = {}
    columns = None
    for row in table_rows(tree, name, corpus.encoding):
        if columns is None:
            columns = find_columns(corpus, f"{tree.root}/{name}", row.header, captions_needed)
        add_row(entries, columns, row, posixpath.basename(name))
    return entries
