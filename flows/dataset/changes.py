"""What the corpora have that a dataset has not, and the other way round, by a look at both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from storage.dataset.builds import finished_builds
from storage.dataset.clip_dataset import ClipDataset
from tasks.corpora.config import read_corpora
from tasks.corpora.readers import read_sources
from tasks.corpora.tree import is_missing
from tasks.tiny.world.corpora import shared_world

if TYPE_CHECKING:
    from flows.build_dataset.request import BuildDatasetRequest


def changes(request: BuildDatasetRequest) -> dict[str, Any]:
    """Counts the sources of each corpus, those new to the dataset, and those whose clips are in it and that are gone.

    No media is opened: whether a file has changed only the build itself finds out.
    """
    needed = request.recipe.captions_needed
    corpora = request.corpora or read_corpora(shared_world(), needed)
    known, with_clips = _in_dataset(request)
    rows, vanished = [], 0
    for corpus in corpora.corpora:
        there = {one.source_id for one in read_sources(corpus, needed) if not is_missing(one.problem)}
        gone = {source for source, name in with_clips.items() if name == corpus.name} - there
        new, vanished = len(there - known), vanished + len(gone)
        rows.append({"corpus": corpus.name, "sources": len(there), "new": new, "vanished": len(gone)})
    return {
        "corpora_file": str(corpora.path),
        "corpora": rows,
        "would_drop_sources": vanished if request.params.prune else 0,
    }


def _in_dataset(request: BuildDatasetRequest) -> tuple[set[str], dict[str, str]]:
    """The sources that the newest finished build knows, and of those with clips the corpus."""
    folder = request.target.dataset_dir
    if not finished_builds(folder):
        return set(), {}
    dataset = ClipDataset.open(folder)
    owners = dataset.clips.read(["source_id", "corpus"])
    with_clips = dict(zip(owners["source_id"].to_pylist(), owners["corpus"].to_pylist(), strict=True))
    return set(dataset.table("sources").read(["source_id"])["source_id"].to_pylist()), with_clips
