"""UCF-101 (arXiv 1212.0402) as a reference: its class folders, official splits and a sentence for each class.

The layout is the archives' own: `ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi` and so on, with
`ucfTrainTestlist/trainlist01.txt` and its like in the folder or beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np

from tasks.corpora.corpus import Corpus
from tasks.corpora.local_tree import LocalTree
from tasks.corpora.manifest import MANIFEST_NAMES
from tasks.corpora.readers import read_sources
from tasks.corpora.records import CaptionSpan, SourceRecord
from tasks.corpora.split_lists import read_ucf_splits
from tasks.corpora.tree import VIDEO_SUFFIXES
from tasks.errors import RequestError

Split = Literal["train", "test", "train+test"]
Fold = Literal[1, 2, 3]

_PROMPTS_FILE = Path(__file__).with_name("ucf101_prompts.tsv")


@cache
def _prompts() -> tuple[tuple[str, str], ...]:
    lines = _PROMPTS_FILE.read_text(encoding="utf-8").splitlines()
    return tuple((label, prompt) for label, _, prompt in (line.partition("\t") for line in lines))


def class_prompts() -> dict[str, str]:
    """Returns a sentence for each of the 101 classes, by the names of their folders, in the order of the official list.

    Make-A-Video (arXiv 2209.14792) and VidRD used one sentence per class too; no published list of theirs is
    known to us, so these are our own.
    """
    return dict(_prompts())


def is_ucf101(folder: Path) -> bool:
    """Returns whether a folder has UCF-101's layout: its class folders hold the videos, and no manifest lists them.

    Half of the folders are enough: a copy with a class misspelt is still one, and `read_ucf101` says which.
    """
    if not folder.is_dir() or any((folder / name).is_file() for name in MANIFEST_NAMES):
        return False
    files = LocalTree(folder).listing(VIDEO_SUFFIXES).files
    folders = {name.split("/")[0] for name in files if "/" in name}
    return bool(folders) and 2 * len(folders & class_prompts().keys()) >= len(folders)


def read_ucf101(folder: Path, split: Split, fold: Fold = 1) -> list[SourceRecord]:
    """Returns the videos of a split, sorted by their paths, each with its class's sentence as the caption.

    `train+test` are all videos of the lists. RequestError when there are no lists, when a class folder has no
    name of UCF-101's, or when a video that the lists name is not there: a part of a split is another split.
    """
    prompts = class_prompts()
    wanted = _listed(folder, fold, split)
    corpus = Corpus(
        name="ucf101",
        kind="short-videos",
        format="class-folders",
        path=folder.absolute(),
        licence="unknown",
        split_fold=fold,
    )
    sources = {
        source.uri: source for source in read_sources(corpus) if "/" in source.uri and source.problem is None
    }
    _check_classes(folder, (uri.split("/")[-2] for uri in sources))
    missing = sorted(wanted - {_key(uri) for uri in sources})
    if missing:
        raise RequestError(
            f"reference: {folder} lacks {len(missing)} of the {len(wanted)} videos of split {split}, "
            f"fold {fold}, the first of them {missing[0]}; complete the folder or shorten its lists"
        )
    return [
        replace(sources[uri], captions=(CaptionSpan(prompts[uri.split("/")[-2]]),))
        for uri in sorted(sources)
        if _key(uri) in wanted
    ]


def train_class_counts(folder: Path, fold: Fold = 1) -> dict[str, int]:
    """Returns how many videos of the train split each class has, by the lists alone; errors as `read_ucf101`."""
    counts = Counter(key.rpartition("/")[0] for key in _listed(folder, fold, "train"))
    _check_classes(folder, counts)
    return dict(sorted(counts.items()))


def prompts_by_distribution(counts: Mapping[str, int], num_videos: int, seed: int) -> list[str]:
    """Returns `num_videos` class sentences, each class as often as its part of `counts`, shuffled by the seed.

    Largest remainders: no class is off its exact share by one or more. The order does not hang on that of
    `counts`, and a first part of it is a random sample. RequestError for unknown classes and for no counts.
    """
    prompts = class_prompts()
    unknown = sorted(counts.keys() - prompts.keys())
    if unknown:
        raise RequestError(f"counts: UCF-101 has no class {unknown[0]!r}")
    total = sum(counts.values())
    if total <= 0 or min(counts.values()) < 0:
        raise RequestError("counts: at least one class must have videos, and none fewer than 0")
    # In whole numbers: floats would decide ties by their last digits.
    shares = {label: divmod(counts[label] * num_videos, total) for label in sorted(counts)}
    left = num_videos - sum(whole for whole, _ in shares.values())
    favoured = set(sorted(shares, key=lambda label: (-shares[label][1], label))[:left])
    chosen = [
        prompts[label] for label, (whole, _) in shares.items() for _ in range(whole + (label in favoured))
    ]
    return [chosen[index] for index in np.random.default_rng(seed).permutation(num_videos)]


def _listed(folder: Path, fold: Fold, split: Split) -> set[str]:
    """Returns the `Class/video` of a split, without suffixes, as the lists name them."""
    if not folder.is_dir():
        raise RequestError(f"reference: {folder} is no folder; give the one with UCF-101's class folders")
    try:
        splits = read_ucf_splits(LocalTree(folder), fold)
    except RequestError as error:
        raise RequestError(f"reference: {error}; UCF-101's lists say what its splits are") from None
    listed = {key for key, part in splits.items() if part in split.split("+")}
    if not listed:
        raise RequestError(f"reference: {folder}: the lists of fold {fold} name no video of split {split}")
    return listed


def _key(uri: str) -> str:
    """Returns a video as the lists name it, without its suffix."""
    return "/".join(uri.split("/")[-2:]).rpartition(".")[0]


def _check_classes(folder: Path, labels: Iterable[str]) -> None:
    unknown = sorted(set(labels) - class_prompts().keys())
    if unknown:
        raise RequestError(
            f"reference: {folder}: UCF-101 has no class {unknown[0]!r}; its class folders are "
            "ApplyEyeMakeup to YoYo"
        )
