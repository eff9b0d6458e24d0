"""UCF-101's official lists of what is for training and what for testing."""

from __future__ import annotations

import posixpath

from tasks.corpora.tree import Tree, reason_of
from tasks.errors import ItemError, RequestError

LISTS_FOLDER = "ucfTrainTestlist"
DEFAULT_FOLD = 1
_MAX_LIST_BYTES = 16 * 2**20  # UCF-101's have half a megabyte


def read_ucf_splits(tree: Tree, fold: int | None) -> dict[str, str]:
    """Gives the split of each `Class/video` (without a suffix) that `trainlist01.txt` and `testlist01.txt` name.

    The lists lie in `ucfTrainTestlist/` in the corpus or beside it; without any there are no splits, unless
    a fold was asked for: then that is a RequestError, as is a list that cannot be read.
    """
    number = f"{fold or DEFAULT_FOLD:02d}"
    splits: dict[str, str] = {}
    for split in ("train", "test"):
        lines = _lines(tree, f"{split}list{number}.txt")
        if lines is None and fold is not None:
            raise RequestError(
                f"{tree.root}: split_fold: no {LISTS_FOLDER}/{split}list{number}.txt in it or beside it"
            )
        for line in lines or ():
            # A training list has the class's number behind the name; names hold no blanks.
            name = line.split()[0] if line.strip() else ""
            if name:
                splits[posixpath.splitext(name)[0]] = split
    return splits


def _lines(tree: Tree, name: str) -> list[str] | None:
    inside = tree.find(f"{LISTS_FOLDER}/{name}")
    beside = tree.beside(LISTS_FOLDER) if inside.problem is not None else None
    if inside.problem is not None and beside is None:
        return None
    place, name = (tree, inside.name) if beside is None else (beside, name)
    if place.find(name).problem is not None:
        return None
    try:
        with place.open(name) as file:
            content = file.read(_MAX_LIST_BYTES + 1)
    except (OSError, ItemError) as error:
        raise RequestError(f"{place.root}/{name}: cannot be read: {reason_of(error)}") from None
    if len(content) > _MAX_LIST_BYTES:
        raise RequestError(f"{place.root}/{name}: is longer than {_MAX_LIST_BYTES // 2**20} MB")
    return content.decode("utf-8-sig", "replace").splitlines()
