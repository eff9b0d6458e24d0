"""Whether a model was trained on the very files that it would be judged by."""

from __future__ import annotations

from collections.abc import Mapping, Set
from pathlib import Path

from storage.dataset.clip_dataset import ClipDataset
from storage.errors import StorageError
from tasks.errors import RequestError


def trained_digests(tags: Mapping[str, str]) -> tuple[set[str], str | None]:
    """Returns digests of all files that a model was trained on, or why they cannot be told, by its version's tags.

    The digests are blake2b-128 of the files' bytes, as the dataset's column `source_digest` has them.
    """
    dataset, tag = tags.get("dataset"), tags.get("dataset_tag")
    if dataset is None or tag is None:
        return set(), "the model names no dataset that it was trained on"
    try:
        table = ClipDataset.open(f"{dataset}@{tag}").clips.read(["source_digest"], where={"split": ["train"]})
    except StorageError as error:
        return set(), f"the dataset that it was trained on cannot be read: {error}"
    return set(table["source_digest"].to_pylist()), None


def check_unseen(files: Mapping[str, str], trained: Set[str], folder: Path) -> None:
    """RequestError when one of the files {name: digest} was trained on: its figures would flatter the model."""
    seen = sorted(name for name, digest in files.items() if digest in trained)
    if seen:
        raise RequestError(
            f"reference: the model was trained on {len(seen)} of the {len(files)} videos in {folder}, the first of "
            f"them {seen[0]}; give videos that it has not seen"
        )
