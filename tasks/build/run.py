"""One build from a corpora file to a tagged dataset, or to the news that nothing has changed."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from storage.builds import finished_builds
from storage.dataset import ClipDataset
from storage.rows import RowRef
from storage.schema import LatentShape
from storage.writer import DatasetWriter, check_latent_shape
from tasks.build.items import add_seconds, timed
from tasks.build.pending import Pending
from tasks.build.pool import Workers
from tasks.build.recipe import Digests, Recipe
from tasks.build.settle import settle
from tasks.build.summary import BuildSummary
from tasks.captions.scoring import scorer_files
from tasks.clips.detectors import load_transnet
from tasks.corpora.config import load_corpora
from tasks.errors import RequestError
from tasks.latents.encoder import latent_shape
from tasks.progress import OnProgress

PASSES = 3
"""Rounds over what is pending: what a lost machine held is done again in the next one."""


def build(
    corpora_path: Path,
    dataset_dir: Path,
    recipe: Recipe,
    *,
    profile: str | None = None,
    prune: bool = False,
    retry_quarantine: bool = False,
    workers: Workers | None = None,
    on_progress: OnProgress | None = None,
) -> BuildSummary:
    """Bring a dataset up to date with its corpora and tag it; sources already done are not touched.

    `profile` is recorded, for later commands on the dataset; `prune` drops what came of sources that are no longer in
    the corpora; with `retry_quarantine` the quarantined sources are tried again and no others; `workers` of an earlier
    build with the same models spare the start of new ones. Items that cannot be
    used are quarantined and counted, never raised. RequestError or StorageError: the request is wrong, another build
    holds the folder, or the models cannot be loaded. Whatever ends a build, what it committed stays, and the next one
    goes on from there.
    """
    shape = check_target(dataset_dir, recipe)
    corpora = load_corpora(corpora_path, recipe.captions_needed)
    digests = Digests.of(recipe)
    report = on_progress or _silent
    summary = BuildSummary(
        corpora=str(corpora_path.absolute()), profile=profile, filter=recipe.filter.model_dump()
    )
    started_s = time.perf_counter()
    with DatasetWriter(dataset_dir, shape) as writer, _workers(workers, recipe, digests) as workers:
        pending = Pending(corpora, writer, recipe, again=retry_quarantine)
        # Counted first, so that a build with nothing to do starts no worker and loads no model.
        with timed(summary.seconds, "read"):
            counts = pending.count()
        summary.read, summary.skipped = counts.read, counts.read - counts.pending
        summary.vanished = len(counts.vanished)
        if prune and counts.vanished:
            writer.drop_sources(counts.vanished)
            summary.pruned = len(counts.vanished)
        report(0, counts.pending, f"{summary.skipped} of {summary.read} sources are done already")
        if counts.pending:
            _process(pending, counts.pending, writer, recipe, digests, workers, summary, report)
        _finish(writer, recipe, digests, workers, summary, report, started_s)
    return summary


def refilter(
    dataset_dir: Path,
    recipe: Recipe,
    *,
    profile: str | None = None,
    workers: Workers | None = None,
    on_progress: OnProgress | None = None,
) -> BuildSummary:
    """Apply the recipe's thresholds to a dataset as it stands and tag it; no source is read that need not be.

    Raises RequestError or StorageError as `build` does.
    """
    shape = check_target(dataset_dir, recipe)
    ClipDataset.open(dataset_dir)  # says in one line what is no dataset
    digests = Digests.of(recipe)
    last = finished_builds(dataset_dir)
    summary = BuildSummary(profile=profile, filter=recipe.filter.model_dump())
    summary.corpora = last[-1].summary.get("corpora") if last else None
    started_s = time.perf_counter()
    with DatasetWriter(dataset_dir, shape) as writer, _workers(workers, recipe, digests) as workers:
        _finish(writer, recipe, digests, workers, summary, on_progress or _silent, started_s)
    return summary


def _workers(given: Workers | None, recipe: Recipe, digests: Digests) -> AbstractContextManager[Workers]:
    """Workers of our own, to be ended with the build, or those that were given, which stay."""
    if given is None:
        return Workers(recipe, digests)
    if not given.fit(recipe):
        raise ValueError("the workers hold other models than this build needs")
    return nullcontext(given)


def _process(
    pending: Pending,
    total: int,
    writer: DatasetWriter,
    recipe: Recipe,
    digests: Digests,
    workers: Workers,
    summary: BuildSummary,
    report: OnProgress,
) -> None:
    """Run every pending source through the pipeline into the committer."""
    # Ray has to be set up before it is imported, and these import it.
    pool = workers.pool(total)
    from tasks.build.committer import Committer
    from tasks.build.pipeline import Pipeline

    known = _rows_with_latents(pending, writer, digests)
    done = 0
    for _ in range(PASSES):
        with Pipeline(pool, recipe, known) as pipeline:
            committer = Committer(pool, writer, summary.seconds, recipe.build.commit_rows)
            for finished in pipeline.run(iter(pending)):
                pending.tried(finished.source.source_id)
                committer.add(finished)
                summary.count(finished)
                done += 1
                report(min(done, total), total, summary.note())
            committer.close()
        add_seconds(summary.seconds, pipeline.seconds)
        for finished in committer.lost:
            summary.count(finished, times=-1)
        lost = pipeline.lost + len(committer.lost)
        if not lost:
            return
        summary.lost += lost
        report(min(done, total), total, f"{lost} sources went down with a machine and are done again")
    raise RequestError(
        f"{lost} sources were lost in each of {PASSES} rounds; see to the cluster and build again"
    )


def _rows_with_latents(pending: Pending, writer: DatasetWriter, digests: Digests) -> dict[str, RowRef]:
    """Rows of sources that are done again, so that clips which stay the same keep their latents."""
    again = {source.source_id for source, _ in pending if writer.knows(source.source_id)}
    found: dict[str, RowRef] = {}
    if not again:
        return found
    for table, rows in writer.rows(["clip_id", "source_id", "encoder"]).items():
        for row in rows.to_pylist():
            if row["source_id"] in again and row["encoder"] == digests.encoder:
                found[row["clip_id"]] = RowRef(writer.dataset_dir, table, row["version"], row["row"])
    return found


def _finish(
    writer: DatasetWriter,
    recipe: Recipe,
    digests: Digests,
    workers: Workers,
    summary: BuildSummary,
    report: OnProgress,
    started_s: float,
) -> None:
    """Settle the rows, unless they were settled so already, and name the versions by a tag."""
    summary.settled_for = [recipe.filter.model_dump(), digests.encoder, digests.scorer]
    if not _is_settled(writer, summary.settled_for):
        with timed(summary.seconds, "settle"):
            settled = settle(writer, recipe, digests, workers, lambda note: report(0, None, note))
        summary.take_settled(settled)
        if settled.failures:
            summary.settled_for = None  # the next build tries these again
    if recipe.build.text_states:
        from tasks.build.texts import write_text_states

        summary.text_states = write_text_states(writer, recipe.model, lambda note: report(0, None, note))
    summary.count_dataset(writer)
    summary.seconds["wall"] = time.perf_counter() - started_s
    finished = writer.finish(summary.as_dict())
    summary.tag, summary.version = finished.tag, finished.versions["clips"]


def _is_settled(writer: DatasetWriter, settled_for: Sequence[object]) -> bool:
    last = finished_builds(writer.dataset_dir)[-1:]
    return writer.is_finished() and bool(last) and last[0].summary.get("settled_for") == list(settled_for)


def check_target(dataset_dir: Path, recipe: Recipe) -> LatentShape:
    """The latents' shape of a build into this folder; RequestError or StorageError when it cannot be done."""
    clips = recipe.clips
    shape = latent_shape(recipe.model, clips.num_frames, clips.height, clips.width)
    scorer_files(recipe.clip)
    if recipe.filter.min_aesthetic is not None and recipe.aesthetic.head is None:
        raise RequestError(
            "filter: min_aesthetic needs an aesthetic head; name its file as head in [aesthetic]"
        )
    if clips.shot_detector == "transnetv2":
        load_transnet()  # says how to install it where it is not
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
