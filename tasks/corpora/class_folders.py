"""The layout `class-folders` (UCF-101, Kinetics): a folder for each class, its name is the label."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from storage.dataset.columns import SPLITS
from tasks.corpora.corpus import Corpus
from tasks.corpora.encodings import decoded_utf8
from tasks.corpora.entry import Entry, record_of
from tasks.corpora.recognised import media_listing
from tasks.corpora.records import SourceRecord
from tasks.corpora.split_lists import read_ucf_splits
from tasks.corpora.tree import Tree


def read_class_folders(corpus: Corpus, tree: Tree) -> Iterator[SourceRecord]:
    """Yields the media below class folders, a caption for each prompt template.

    The split is that of UCF-101's lists, else `train`, `val` or `test` where these folders lie above the
    class folders.
    """
    splits = read_ucf_splits(tree, corpus.split_fold)
    for name, found in media_listing(tree, corpus).files.items():
        folders = name.split("/")[:-1]
        entry = Entry()
        split = splits.get(posixpath.splitext("/".join(name.split("/")[-2:]))[0])
        if len(folders) > 1 and folders[0] in SPLITS:
            split = split or folders[0]
        if folders:
            _add_label(corpus, entry, folders[-1])
        else:
            entry.problem = "lies in no class folder, so it has no label"
        yield record_of(corpus, found, entry, "label", split=split)


def _add_label(corpus: Corpus, entry: Entry, folder: str) -> None:
    try:
        # A folder's name is bytes, which need not be UTF-8.
        words = label_words(decoded_utf8(folder.encode(errors="surrogateescape"), corpus.encoding))
    except ValueError as error:
        entry.problem = f"the folder's name: {error}"
        return
    for template in corpus.prompt_template:
        entry.add(template.replace("{label}", words), origin="name of its folder")


def label_words(label: str) -> str:
    """Gives the words of a class label: `ApplyEyeMakeup`, `apply_eye_makeup` -> `apply eye makeup`."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", label)
    return " ".join(re.sub(r"[_\-]+", " ", spaced).split()).lower()
