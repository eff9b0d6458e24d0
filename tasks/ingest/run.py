"""One build from corpora to a tagged dataset, or to the news that nothing has changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from storage.dataset.builds import finished_builds, last_noted
from storage.dataset.clip_dataset import ClipDataset
from storage.dataset.columns import CLIP_ID, ENCODER, SOURCE_ID
from storage.dataset.folder import CLIP_TABLES
from storage.dataset.schema import LatentShape
from storage.dataset.table_reader import ROW
from storage.dataset.tables import RowRef
from storage.dataset.writer import DatasetWriter, check_latent_shape
from tasks.corpora.config import Corpora
from tasks.corpora.look import Look
from tasks.errors import RequestError
from tasks.filters.settings import FilterSettings
from tasks.ingest.committer import Committer
from tasks.ingest.items import add_seconds, timed
from tasks.ingest.pending import Pending
from tasks.ingest.pipeline import Pipeline
from tasks.ingest.recipe import Digests, Recipe
from tasks.ingest.reconcile import reconcile
from tasks.ingest.summary import BuildSummary, ProfileUsed
from tasks.ingest.texts import write_text_states
from tasks.ingest.thresholds import Asked, Thresholds, thresholds_in_force
from tasks.ingest.workers import Workers
from tasks.model_files import latent_shape, scorer_files, text_encoder_digest, vae_of
from tasks.output_folders import check_dataset_folder
from tasks.progress import OnProgress

PASSES = 3
"""Rounds over what is pending: what a lost machine held is done again in the next one."""


@dataclass(frozen=True)
class Target:
    """A dataset folder that a recipe can build into, and the shape of the latents in it; made by `check_target`."""

    dataset_dir: Path
    latent_shape: LatentShape


def build(
    corpora: Corpora,
    target: Target,
    recipe: Recipe,
    *,
    asked: Asked = Asked(),  # noqa: B008
    allow_empty: bool = False,
    profile: ProfileUsed | None = None,
    prune: bool = False,
    retry_quarantine: bool = False,
    workers: Workers | None = None,
    on_progress: OnProgress | None = None,
    on_looked: Callable[[Sequence[Look]], None] | None = None,
) -> BuildSummary:
    """Brings a dataset up to date with its corpora and tags it; sources already done are not touched.

    The recipe's thresholds are those of the profile: what was `asked` now, or set on the dataset before, comes first.
    The `profile` is recorded for later commands; `prune` drops what came of sources that are no longer in the corpora;
    with `retry_quarantine` the quarantined sources are tried again and no others; `on_looked` is told what lies in each
    corpus before the work begins; `workers` of an earlier build with the same models spare the start of new ones.

    Items that cannot be used are quarantined and counted, never raised. RequestError or StorageError: the request is
    wrong, another build holds the folder, the models cannot be loaded, or no clip would be left where there were some,
    unless `allow_empty`. Whatever ends a build, what it committed stays, and the next one goes on from there.
    """
    digests = Digests.of(recipe)
    summary = BuildSummary(corpora=str(corpora.path.absolute()))
    summary.note_profile(profile)
    started_s = time.perf_counter()
    with (
        DatasetWriter(target.dataset_dir, target.latent_shape) as writer,
        _workers(workers, recipe, digests) as workers,
    ):
        thresholds = _in_force(writer, recipe, asked, summary)
        recipe = replace(recipe, filter=thresholds.settings)
        run = _Run(writer, recipe, digests, workers, thresholds, summary, on_progress, started_s)
        pending = Pending(corpora.corpora, writer, recipe, again=retry_quarantine)
        # Counted first, so that a build with nothing to do starts no worker and loads no model.
        with timed(summary.seconds, "read"):
            looks = {corpus.name: Look(corpus) for corpus in corpora.corpora}
            unread = {name: look.ignored for name, look in looks.items()}
            counts = pending.count(lambda source: looks[source.corpus].add(source), unread)
            for ignored in unread.values():
                summary.unread.update(ignored)
        if on_looked is not None and counts.pending:
            on_looked(list(looks.values()))
        summary.read, summary.skipped = counts.read, counts.read - counts.pending
        summary.vanished = len(counts.vanished)
        leaving = counts.vanished if prune else []
        summary.pruned = len(leaving)
        first = f"{summary.skipped} of {summary.read} sources are done already{run.encoded_otherwise()}"
        run.note(first, 0, counts.pending)
        if counts.pending:
            run.process(pending, counts.pending)
        run.finish(leaving, allow_empty)
    return summary


def refilter(
    target: Target,
    recipe: Recipe,
    *,
    asked: Asked = Asked(),  # noqa: B008
    allow_empty: bool = False,
    profile: ProfileUsed | None = None,
    workers: Workers | None = None,
    on_progress: OnProgress | None = None,
) -> BuildSummary:
    """Applies thresholds to a dataset as it stands and tags it; no source is read that need not be.

    Which thresholds hold, and what is raised, is as for `build`.
    """
    digests = Digests.of(recipe)
    summary = BuildSummary()
    summary.note_profile(profile)
    started_s = time.perf_counter()
    with (
        DatasetWriter(target.dataset_dir, target.latent_shape) as writer,
        _workers(workers, recipe, digests) as workers,
    ):
        summary.corpora = last_noted(target.dataset_dir, "corpora")
        thresholds = _in_force(writer, recipe, asked, summary)
        recipe = replace(recipe, filter=thresholds.settings)
        run = _Run(writer, recipe, digests, workers, thresholds, summary, on_progress, started_s)
        if otherwise := run.encoded_otherwise():
            run.note(f"thresholds are applied{otherwise}")
        run.finish(allow_empty=allow_empty)
    return summary


def _in_force(writer: DatasetWriter, recipe: Recipe, asked: Asked, summary: BuildSummary) -> Thresholds:
    """Gives the thresholds of this build, put on record in its summary."""
    builds = finished_builds(writer.dataset_dir)
    thresholds = thresholds_in_force(builds, recipe.filter, summary.profile, asked)
    _check_filter(thresholds.settings, recipe)
    summary.filter, summary.thresholds_set = thresholds.settings.model_dump(), thresholds.set_here
    if thresholds.settings.max_nudity is not None:
        summary.nudity = {"model": recipe.nudity.model, "licence": recipe.nudity.licence_shown}
    return thresholds


def _workers(given: Workers | None, recipe: Recipe, digests: Digests) -> AbstractContextManager[Workers]:
    """Workers of our own, to be ended with the build, or those that were given, which stay."""
    if given is None:
        return Workers(recipe, digests)
    if not given.fit(recipe):
        raise ValueError("the workers hold other models than this build needs")
    return nullcontext(given)


@dataclass
class _Run:
    """One run over a dataset: what its steps share, and the steps."""

    writer: DatasetWriter
    recipe: Recipe
    digests: Digests
    workers: Workers
    thresholds: Thresholds
    summary: BuildSummary
    on_progress: OnProgress | None
    started_s: float
    done: int = 0

    def encoded_otherwise(self) -> str:
        """Says how many clips are to be encoded again because the VAE computes in other numbers now; else nothing."""
        encoder = self.digests.encoder
        if encoder in (last_noted(self.writer.dataset_dir, "settled_for") or ()):
            return ""  # no row need be read to know that
        kept = self.writer.table("clips")
        count = sum(
            kept.count_rows(f"{ENCODER} = '{other}'")
            for other in kept.distinct(ENCODER) - {encoder, None}
            if vae_of(other) == vae_of(encoder)
        )
        again = f"; {count} clips encoded in another precision are encoded again, in"
        return f"{again} {self.recipe.build.precision}" if count else ""

    def process(self, pending: Pending, total: int) -> None:
        """Runs every pending source through the pipeline into the committer."""
        self.writer.complete_columns()
        for measure in self.recipe.measures:
            measure.load()  # one that cannot be loaded would quarantine every source
        known = _rows_with_latents(pending, self.writer, self.digests)
        lost = 0
        for _ in range(PASSES):
            lost = self._pass(pending, total, known)
            if not lost:
                return
            self.summary.lost += lost
            again = f"{lost} sources went down with a machine and are done again"
            self.note(again, min(self.done, total), total)
        raise RequestError(
            f"{lost} sources were lost in each of {PASSES} rounds; see to the cluster and build again"
        )

    def _pass(self, pending: Pending, total: int, known: dict[str, RowRef]) -> int:
        """One round over what is pending; how many sources were lost with a machine."""
        executor, summary = self.workers.executor(total), self.summary
        dataset_dir = self.writer.dataset_dir

        def show() -> None:
            done = min(self.done + pipeline.open_shares(), total)
            self.note(f"{pipeline.progress.note()}; {summary.note()}", done, total)

        with Pipeline(executor, self.recipe, known, dataset_dir, show) as pipeline:
            show()
            committer = Committer(executor, self.writer, summary.seconds, self.recipe.build.commit_rows)
            for finished in pipeline.run(iter(pending)):
                pending.tried(finished.source.source_id)
                committer.add(finished)
                summary.count(finished)
                self.done += 1
                show()
            committer.close()
        add_seconds(summary.seconds, pipeline.seconds)
        for finished in committer.lost:
            summary.count(finished, times=-1)
        return pipeline.lost + len(committer.lost)

    def finish(self, leaving: Collection[str] = (), allow_empty: bool = False) -> None:
        """Reconciles the rows, unless they were reconciled so already, and names the versions by a tag."""
        writer, recipe, summary = self.writer, self.recipe, self.summary
        summary.settled_for = [summary.filter, self.digests.encoder, self.digests.scorer]
        summary.settled_for += [measure.digest for measure in recipe.measures]
        if recipe.captions_all:
            summary.settled_for.append(recipe.captioned_by)
        summary.cut_captions = last_noted(writer.dataset_dir, "cut_captions")
        changed = bool(leaving) or not _is_reconciled(writer, summary.settled_for)
        if changed:
            with timed(summary.seconds, "settle"):
                done = reconcile(
                    writer,
                    recipe,
                    self.digests,
                    self.workers,
                    self.note,
                    self.thresholds,
                    leaving,
                    allow_empty,
                )
            summary.take_reconciled(done)
            if done.failures:
                summary.settled_for = None  # the next build tries these again
        if changed or summary.cut_captions is None:
            summary.cut_captions = self.workers.count_cut_captions(writer.dataset_dir)
        if recipe.build.text_states:
            summary.text_states = self._write_text_states()
        summary.count_dataset(writer)
        summary.seconds["wall"] = time.perf_counter() - self.started_s
        finished = writer.finish(summary.as_dict())
        summary.tag, summary.version = finished.tag, finished.versions["clips"]

    def _write_text_states(self) -> int:
        """Brings the table of text states up to date with the captions of `clips`; how many were made."""
        digest = text_encoder_digest(self.recipe.model)
        captions = self.writer.captions_without_states(digest)
        if captions:
            with self.workers.text_encoder() as encode:
                write_text_states(self.writer, captions, encode, digest, self.note)
        return len(captions)

    def note(self, text: str, done: float = 0, total: int | None = None) -> None:
        """Tells whoever watches how far it is."""
        if self.on_progress is not None:
            self.on_progress(done, total, text)


def _rows_with_latents(pending: Pending, writer: DatasetWriter, digests: Digests) -> dict[str, RowRef]:
    """Finds the rows of sources that are done again, so that clips which stay the same keep their latents."""
    again = {source.source_id for source, _ in pending if writer.knows(source.source_id)}
    found: dict[str, RowRef] = {}
    if not again:
        return found
    for table in CLIP_TABLES:
        reader = writer.table(table)
        for batch in reader.batches([ROW, CLIP_ID, SOURCE_ID], where={ENCODER: [digests.encoder]}):
            for row in batch.to_pylist():
                if row[SOURCE_ID] in again:
                    found[row[CLIP_ID]] = RowRef(writer.dataset_dir, table, reader.version, row[ROW])
    return found


def _is_reconciled(writer: DatasetWriter, settled_for: Sequence[object]) -> bool:
    last = finished_builds(writer.dataset_dir)[-1:]
    return writer.is_finished() and bool(last) and last[0].summary.get("settled_for") == list(settled_for)


def check_target(dataset_dir: Path, recipe: Recipe, is_there: bool = False) -> Target:
    """Looks whether the recipe can build into this folder; RequestError or StorageError when it cannot.

    With `is_there` the folder has to hold a finished build.
    """
    check_dataset_folder(dataset_dir)
    if is_there:
        ClipDataset.open(dataset_dir)
    clips = recipe.clips
    shape = latent_shape(recipe.model, clips.num_frames, clips.height, clips.width)
    scorer_files(recipe.clip_model)
    _check_filter(recipe.filter, recipe)
    if clips.shot_detector == "transnetv2":
        from tasks.clips.transnet import (
            load_transnet,  # it imports torch, which most builds' drivers do without
        )

        load_transnet()  # says how to install it where it is not
    check_latent_shape(dataset_dir, shape)
    return Target(dataset_dir, shape)


def _check_filter(settings: FilterSettings, recipe: Recipe) -> None:
    if settings.max_nudity is not None and recipe.nudity.model is None:
        raise RequestError("filter: max_nudity needs a detector; name it as model in [nudity]")
    _ = replace(recipe, filter=settings).measures  # says what is not installed
    if settings.min_aesthetic is not None and recipe.aesthetic.head is None:
        raise RequestError(
            "filter: min_aesthetic needs an aesthetic head; name its file as head in [aesthetic]"
        )
