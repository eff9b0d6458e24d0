"""Readers: one per layout, each turning a corpus into source records without decoding any media."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tasks.corpora.class_folders import read_class_folders
from tasks.corpora.corpus import Corpus
from tasks.corpora.folder import passed_by_in, read_folder, read_table
from tasks.corpora.hf import HUB, read_hf
from tasks.corpora.json_tables import LINES_SUFFIXES
from tasks.corpora.local_tree import LocalTree
from tasks.corpora.manifest import JSON_SUFFIXES
from tasks.corpora.parquet import read_parquet
from tasks.corpora.records import NO_CAPTION, CaptionSpan, SourceRecord
from tasks.corpora.remote_tree import RemoteTree, is_there, parent_of
from tasks.corpora.tree import Tree, suffix_of
from tasks.corpora.webdataset import SUFFIX, read_webdataset, refuse_compressed
from tasks.errors import RequestError

__all__ = ["CaptionSpan", "SourceRecord", "read_sources"]


def read_sources(
    corpus: Corpus, captions_needed: bool = True, unread: Counter[str] | None = None
) -> Iterator[SourceRecord]:
    """Yields the sources of a corpus in the order of their names.

    Bad sources come with a `problem`, never as an exception; RequestError when the corpus is not there or
    cannot be reached, or when its own table (manifest, CSV, parquet) cannot be read. A source without a caption is
    bad, and so is a table without a column of them, unless `captions_needed` is False: a model writes them later.
    `unread` counts, by their suffixes, the files of folders and the members of tars that nobody looks at.
    """
    for source in _read(corpus, captions_needed, unread):
        uncaptioned = source.problem == NO_CAPTION and not captions_needed
        yield replace(source, problem=None) if uncaptioned else source
    if unread is not None:
        unread.update(suffix_of(name) for name in passed_by(corpus))


def _read(corpus: Corpus, captions_needed: bool, unread: Counter[str] | None) -> Iterator[SourceRecord]:
    tree, name = _locate(corpus)
    if corpus.format == "csv":
        if name is None:
            raise RequestError(f"path: {corpus.path} is not a file; format csv needs the .csv itself")
        yield from read_table(corpus, tree, name, captions_needed)
    elif corpus.format == "jsonl":
        _check_suffix(corpus, name, *JSON_SUFFIXES)
        names = [name] if name else tree.listing(LINES_SUFFIXES).files
        for table in names:
            yield from read_table(corpus, tree, table, captions_needed)
    elif corpus.format == "parquet":
        _check_suffix(corpus, name, ".parquet")
        yield from read_parquet(corpus, tree, name, captions_needed)
    elif corpus.format == "webdataset":
        if name is not None:
            refuse_compressed(str(corpus.path))
        _check_suffix(corpus, name, ".tar")
        yield from read_webdataset(corpus, tree, name, unread)
    elif name is not None:
        raise RequestError(f"path: {corpus.path} is not a folder")
    elif corpus.format == "hf":
        yield from read_hf(corpus, tree, captions_needed)
    elif corpus.format == "folder":
        yield from read_folder(corpus, tree, captions_needed)
    else:
        yield from read_class_folders(corpus, tree)


def passed_by(corpus: Corpus) -> list[str]:
    """Gives the names of the files in a corpus of folders, or beside tars, that nobody looks at; of others none."""
    tree, name = _locate(corpus)
    if corpus.format == "webdataset" and name is None:
        return sorted(tree.listing((SUFFIX,)).others)
    return passed_by_in(corpus, tree) if corpus.format in ("folder", "class-folders") else []


def _check_suffix(corpus: Corpus, name: str | None, *suffixes: str) -> None:
    if name is not None and not name.lower().endswith(suffixes):
        raise RequestError(
            f"path: {corpus.path} is no {suffixes[0]} file and no folder of them, as format {corpus.format} needs"
        )


def _locate(corpus: Corpus) -> tuple[Tree, str | None]:
    """Gives the folder of a corpus, and the file in it when the corpus is one."""
    if isinstance(corpus.path, Path):
        if not corpus.path.exists():
            raise RequestError(f"path: {corpus.path} does not exist")
        if corpus.path.is_dir():
            return LocalTree(corpus.path), None
        return LocalTree(corpus.path.parent, corpus.path.name), corpus.path.name
    there = is_there(corpus.path)
    if there is None:
        here = ", and there is no such folder here" if corpus.path.startswith(HUB) else ""
        raise RequestError(f"path: {corpus.path} does not exist{here}")
    parent = parent_of(corpus.path)
    if there == "directory" or parent is None:
        return RemoteTree(corpus.path), None
    return RemoteTree(parent), posixpath.basename(corpus.path.rstrip("/"))
