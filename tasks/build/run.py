"""One build from a corpora file to a tagged dataset, or to the news that nothing has changed."""

import os
import time
from pathlib import Path

from storage.schema import LatentShape
from storage.writer import DatasetWriter, check_latent_shape
from tasks.build.committer import Committer
from tasks.build.items import add_seconds, timed
from tasks.build.pending import Pending, settings_digest
from tasks.build.pipeline import Pipeline
from tasks.build.summary import BuildSummary
from tasks.build.workers import Models
from tasks.captions.scoring import scorer_digest, scorer_files
from tasks.clips.settings import ClipSettings
from tasks.cluster import ensure_ray
from tasks.corpora.config import load_corpora
from tasks.errors import RequestError
from tasks.filters.settings import FilterSettings
from tasks.latents.encoder import encoder_digest, latent_shape
from tasks.progress import OnProgress

COMMIT_ROWS = 256
"""Rows per commit: a few megabytes at 64x64, about a hundred at 256x256."""


def build(
    corpora_path: Path,
    dataset_dir: Path,
    clip_settings: ClipSettings,
    filter_settings: FilterSettings,
    model_dir: str | Path,
    clip_dir: str | Path,
    *,
    on_progress: OnProgress | None = None,
    commit_rows: int = COMMIT_ROWS,
) -> BuildSummary:
    """Bring a dataset up to date with its corpora and tag it; sources already done are not touched.

    Items that cannot be used are quarantined and counted, never raised. RequestError or StorageError:
    the request is wrong, another build holds the folder, or the models cannot be loaded. Whatever
    ends a build, what it committed stays, and the next one goes on from there.
    """
    shape = check_target(dataset_dir, clip_settings, model_dir, clip_dir)
    corpora = load_corpora(corpora_path)
    models = Models(str(model_dir), str(clip_dir), encoder_digest(model_dir), scorer_digest(clip_dir))
    settings = settings_digest(clip_settings, filter_settings, models.encoder, models.scorer)
    report = on_progress or _silent
    summary = BuildSummary()
    started_s = time.perf_counter()
    with DatasetWriter(dataset_dir, shape) as writer:
        pending = Pending(corpora, writer, settings)
        # Counted first, so that a build with nothing to do starts no worker and loads no model.
        with timed(summary.seconds, "read"):
            summary.read, total = pending.count()
        summary.skipped = summary.read - total
        report(0, total, f"{summary.skipped} of {summary.read} sources are done already")
        if total:
            ensure_ray()
            with Pipeline(models, clip_settings, filter_settings) as pipeline:
                committer = Committer(writer, summary.seconds, commit_rows)
                _process(pending, total, pipeline, committer, summary, report)
        summary.count_dataset(writer)
        summary.seconds["wall"] = time.perf_counter() - started_s
        finished = writer.finish(summary.as_dict())
    summary.tag, summary.version = finished.tag, finished.versions["clips"]
    return summary


def _process(
    pending: Pending,
    total: int,
    pipeline: Pipeline,
    committer: Committer,
    summary: BuildSummary,
    report: OnProgress,
) -> None:
    """Run every pending source through the pipeline into the committer."""
    for done, finished in enumerate(pipeline.run(iter(pending)), start=1):
        committer.add(finished)
        summary.count(finished)
        report(done, total, summary.note())
    committer.close()
    summary.encoded = pipeline.encoded
    add_seconds(summary.seconds, pipeline.seconds)


def check_target(
    dataset_dir: Path, clip_settings: ClipSettings, model_dir: str | Path, clip_dir: str | Path
) -> LatentShape:
    """The latents' shape of a build into this folder; RequestError or StorageError when it cannot be done."""
    shape = latent_shape(model_dir, clip_settings.num_frames, clip_settings.height, clip_settings.width)
    scorer_files(clip_dir)
    nearest = dataset_dir.absolute()
    while not nearest.exists():
        nearest = nearest.parent
    if not nearest.is_dir():
        raise RequestError(f"dataset: {nearest} is a file, not a folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise RequestError(f"dataset: {nearest} is not writable")
    check_latent_shape(dataset_dir, shape)
    return shape


def _silent(done: int, total: int | None, note: str) -> None:
    """Progress that nobody asked for."""
