"""Tables that lie in the folders of media: Hugging Face's `metadata.*` and diffusion-pipe's `captions.json`."""

from __future__ import annotations

import posixpath

from tasks.corpora.corpus import Corpus
from tasks.corpora.entry import Entry
from tasks.corpora.manifest import read_manifest
from tasks.corpora.tree import Listing, Tree, is_hidden
from tasks.errors import RequestError

METADATA_NAMES = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
CAPTIONS_NAME = "captions.json"
# fmt: off
SPLITS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test", "eval": "test", "evaluation": "test",
}
# fmt: on


def read_metadata(corpus: Corpus, tree: Tree, listing: Listing) -> dict[str, Entry]:
    """Gives what these tables of a corpus say of the files in their folders and below.

    A file that lies below a folder called after a split belongs to it. RequestError when a table cannot be read;
    one without names of files is none of these and says nothing.
    """
    entries: dict[str, Entry] = {}
    for name in sorted(listing.others):
        base = posixpath.basename(name)
        if (base not in METADATA_NAMES and base != CAPTIONS_NAME) or is_hidden(name):
            continue
        problem = tree.find(name).problem
        if problem is not None:
            raise RequestError(f"{tree.root}/{name}: {problem}")
        for uri, entry in read_manifest(corpus, tree, name, is_metadata=base in METADATA_NAMES).items():
            if uri in listing.others:
                continue  # of another kind: a folder of images and videos has one table for both
            entry.is_metadata, entry.split = True, split_of_path(uri)
            entries.setdefault(uri, entry)
    return entries


def split_of_path(uri: str) -> str | None:
    """Gives the split that the outermost folder of such a name says."""
    return next((SPLITS[part] for part in uri.lower().split("/")[:-1] if part in SPLITS), None)
