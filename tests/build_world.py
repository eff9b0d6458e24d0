"""A tiny world small enough to build in seconds, and what a finished build holds, for the build tests."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from flows.profile import Profile
from storage.dataset.clip_dataset import ClipDataset
from storage.dataset.tables import write_rows
from storage.dataset.writer import DatasetWriter, SourceGroup
from tasks.corpora.config import read_corpora
from tasks.filters.settings import FilterSettings
from tasks.ingest import run as ingest
from tasks.ingest.executor import Executor
from tasks.ingest.recipe import Digests, Recipe
from tasks.ingest.run import check_target
from tasks.ingest.settings import BuildSettings
from tasks.ingest.summary import BuildSummary, ProfileUsed
from tasks.ingest.workers import Workers
from tasks.model_files import latent_shape
from tasks.tiny.world.corpora import write_tiny_world
from tests.dataset_rows import clip_row, source_row

# The beginning of a program, given (project, corpora, dataset, n), that kills itself before its n-th commit to a table.
DIES_AT_A_COMMIT = """
import os, signal, sys
project, corpora, dataset, fatal = sys.argv[1:]
sys.path.insert(0, project)
from pathlib import Path
import storage.dataset.writer
from flows.profile import load_profile
from tests.build_world import build, keep_all, refilter

commit_rows, calls = storage.dataset.writer.commit_rows, 0
def commit_or_die(*args, **kwargs):
    global calls
    calls += 1
    if calls == int(fatal):
        os.kill(os.getpid(), signal.SIGKILL)
    commit_rows(*args, **kwargs)

storage.dataset.writer.commit_rows = commit_or_die
"""
BROKEN = {
    "text.png": "decode",
    "uncaptioned.jpg": "read",
    "videos/empty.mp4": "decode",
    "videos/truncated.mp4": "decode",
    "videos/vanished.mp4": "read",
}


def small_world(
    root: Path, images: int = 6, short_videos: int = 6, class_videos: int = 4, long_videos: int = 1
) -> Path:
    """The corpora file of good sources, by default 17, and the five broken ones."""
    return write_tiny_world(root, 3, images, short_videos, class_videos, long_videos, reference=1)


def keep_all(profile: Profile, threshold: float = -1.0, **build: Any) -> Recipe:
    """The profile's recipe with no filter but the threshold of the CLIP score, by default one that all reach."""
    recipe = profile.recipe()
    settings = BuildSettings.model_validate(recipe.build.model_dump() | build)
    return replace(recipe, filter=FilterSettings(clip_threshold=threshold), build=settings)


def build(
    corpora_path: Path, dataset_dir: Path, recipe: Recipe, profile: str | None = None, **options: Any
) -> BuildSummary:
    """A build as a command makes it: looked at first, then carried out."""
    options["profile"] = ProfileUsed(profile) if profile else None
    target = check_target(dataset_dir, recipe)
    return ingest.build(read_corpora(corpora_path, recipe.captions_needed), target, recipe, **options)


def refilter(dataset_dir: Path, recipe: Recipe, profile: str | None = None, **options: Any) -> BuildSummary:
    """The same for new thresholds alone."""
    options["profile"] = ProfileUsed(profile) if profile else None
    return ingest.refilter(check_target(dataset_dir, recipe, is_there=True), recipe, **options)


class LocalWorkers(Workers):
    """Workers that stay in this process, however much there is to do."""

    def executor(self, items: int) -> Executor:
        if self._executor is None:
            self._executor = self._start_local(items)
        return self._executor


class RayWorkers(Workers):
    """Workers on Ray, however little there is to do."""

    def executor(self, items: int) -> Executor:
        if self._executor is None:
            self._executor = self._start_on_ray(items)
        return self._executor


def all_rows(ref: str | Path) -> dict[str, dict[str, Any]]:
    """Every row of `clips` and `rejected` by its clip_id, whole, arrays as bytes; `reason` is None where it is kept."""
    dataset = ClipDataset.open(ref)
    found: dict[str, dict[str, Any]] = {}
    for table in ("clips", "rejected"):
        reader = dataset.table(table)
        for row in reader.whole_rows(range(reader.count_rows())):
            assert row["clip_id"] not in found, "the same clip twice"
            plain = {k: v.tobytes() if isinstance(v, np.ndarray) else v for k, v in row.items()}
            found[row["clip_id"]] = {"reason": None, **plain}
    return found


def scored_dataset(
    folder: Path,
    profile: Profile,
    scores: dict[str, float],
    captions: dict[str, str] | None = None,
    /,
    **summary: Any,
) -> Path:
    """A finished dataset of one image a score, encoded and scored as today's models would name it.

    Clips that reach the profile's threshold are kept; the rest is rejected with latents too, so that other thresholds
    need no worker. `summary` is what its build noted.
    """
    recipe = profile.recipe()
    digests, clips = Digests.of(recipe), recipe.clips
    shape = latent_shape(recipe.model, clips.num_frames, clips.height, clips.width)
    rows = []
    for source, score in scores.items():
        reason = {} if score >= profile.filter.clip_threshold else {"reason": "clip_score"}
        row = clip_row(source, clip_score=score, clip_score_min=score, num_frames=shape[0], **reason)
        # Short, so that no tokenizer has to be loaded to see that none is cut: that takes every process seconds.
        row["caption"] = (captions or {}).get(source, f"of {source}")
        row |= {"latents": np.zeros(shape, np.float16), "encoder": digests.encoder, "scorer": digests.scorer}
        rows.append(row)
    with DatasetWriter(folder, shape) as writer:
        kept = write_rows(folder, "clips", [row for row in rows if "reason" not in row])
        rejected = write_rows(folder, "rejected", [row for row in rows if "reason" in row])
        writer.commit(SourceGroup([source_row(source) for source in scores], [], kept, rejected))
        writer.finish(summary)
    return folder
