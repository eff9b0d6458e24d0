"""The layout `hf`: datasets of the Hugging Face hub, their folders, and what the library `datasets` has saved.

The library says which files there are and to which split they belong; they are read where they lie, by the readers of
their layouts, and the media in them as everywhere: it decodes nothing, and no code of a dataset runs.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import yaml

from tasks.corpora.corpus import Corpus
from tasks.corpora.folder import read_folder, read_table
from tasks.corpora.local_tree import LocalTree
from tasks.corpora.metadata import SPLITS
from tasks.corpora.parquet import read_parquet
from tasks.corpora.records import SourceRecord
from tasks.corpora.saved_dataset import is_saved, read_saved
from tasks.corpora.tree import OUTSIDE, Tree, reason_of
from tasks.corpora.webdataset import read_webdataset
from tasks.errors import ItemError, RequestError

HUB = "hf://datasets/"
_FOLDERS = ("imagefolder", "videofolder")
_TABLES = ("json", "csv")
_MAX_CARD_BYTES = 2**20


def read_hf(corpus: Corpus, tree: Tree, captions_needed: bool = True) -> Iterator[SourceRecord]:
    """Yields the images or videos of a dataset, each with its split; RequestError for one that cannot be read."""
    if is_saved(tree):
        yield from read_saved(corpus, tree, captions_needed)
        return
    layout, splits = _resolved(corpus, tree)
    if layout in _FOLDERS:
        for record in read_folder(corpus, tree, captions_needed):
            yield replace(record, split=splits.get(record.uri, record.split))
        return
    for name, split in splits.items():
        if layout == "parquet":
            records = read_parquet(corpus, tree, name, captions_needed)
        elif layout == "webdataset":
            records = read_webdataset(corpus, tree, name)
        elif layout in _TABLES:
            records = read_table(corpus, tree, name, captions_needed)
        else:
            raise RequestError(f"{tree.root}: holds {layout}, which gives neither images nor videos")
        for record in records:
            yield replace(record, split=split)


def _resolved(corpus: Corpus, tree: Tree) -> tuple[str, dict[str, str | None]]:
    """Gives the layout of a dataset and the files that it is made of, each with its split, as the library has them."""
    if isinstance(tree, LocalTree):
        _check_card(tree)
    # Whoever reads a dataset here counts as no download.
    os.environ.setdefault("HF_UPDATE_DOWNLOAD_COUNTS", "false")
    try:
        import datasets
    except ImportError:
        raise RequestError(
            "format hf needs the library datasets, which is not installed: pip install 'vidrd[hf]'"
        ) from None
    try:
        builder = datasets.load_dataset_builder(tree.root.removeprefix(HUB), corpus.subset)
    except Exception as error:  # by any of the libraries below
        raise RequestError(f"{tree.root}: no dataset can be read: {reason_of(error)}") from None
    files = {
        _inside(tree, file): SPLITS.get(str(split).lower())
        for split, names in (builder.config.data_files or {}).items()
        for file in names
    }
    return type(builder).__module__.rpartition(".")[2], files


def _inside(tree: Tree, file: str) -> str:
    """Gives the path of a file inside the dataset; RequestError for one outside it."""
    if isinstance(tree, LocalTree):
        name = os.path.relpath(file, tree.root)
        problem = tree.find(name).problem
    else:
        repository, _, name = file.removeprefix(HUB).partition("@")
        name = name.partition("/")[2]
        problem = None if HUB + repository == tree.root.partition("@")[0] else OUTSIDE
    if problem is not None:
        raise RequestError(f"{tree.root}: its file {file}: {problem}")
    return name


def _check_card(tree: Tree) -> None:
    """Refuses a folder whose card names files outside it: the library would look for them before they are refused."""
    for name in ("README.md", ".huggingface.yaml"):
        if tree.find(name).problem is not None:
            continue
        try:
            with tree.open(name) as file:
                text = file.read(_MAX_CARD_BYTES).decode("utf-8", "replace")
            head = text.split("---\n")[1] if text.startswith("---\n") else text if name != "README.md" else ""
            card = yaml.safe_load(head)
        except (OSError, ItemError, yaml.YAMLError) as error:
            raise RequestError(f"{tree.root}/{name}: cannot be read: {reason_of(error)}") from None
        configs = card.get("configs") if isinstance(card, dict) else None
        for place in _texts(configs):
            if "://" in place or place.startswith(("/", "~")) or ".." in posixpath.normpath(place).split("/"):
                raise RequestError(f"{tree.root}/{name}: names {place[:100]!r}, which {OUTSIDE}")


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _texts(list(value.values()))
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
