"""Brings the rows of a dataset in line with today's models and thresholds, decoding only what it must.

A build ends with it, and `vidrd dataset refilter` is nothing else: rows scored by another CLIP model are scored anew,
rows move between `clips` and `rejected`, near-duplicates go, splits follow, and what is kept gets latents of today's
encoder where it has none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from storage.dataset.columns import CAPTIONER, CLIP_ID, ENCODER, REASON, SCORER, SOURCE_ID
from storage.dataset.table_reader import ROW
from storage.dataset.tables import RowRef
from storage.dataset.writer import DatasetWriter, RowGroup
from tasks.filters.measures import unmeasured
from tasks.ingest.last_clip import refuse_to_empty
from tasks.ingest.placement import COLUMNS, Placement, evidence_columns, place
from tasks.ingest.recipe import Digests, Recipe
from tasks.ingest.rewriting import Rewrite, rewrite_rows
from tasks.ingest.thresholds import Thresholds
from tasks.ingest.workers import Workers

ROWS_PER_CALL = 16


@dataclass
class Reconciled:
    """What was done; `failures` are rows that stay as they were, by clip_id, with the reason."""

    rescored: int = 0
    measured: int = 0
    captioned: int = 0
    encoded: int = 0
    moved: int = 0
    failures: dict[str, str] = field(default_factory=dict)


def reconcile(
    writer: DatasetWriter,
    recipe: Recipe,
    digests: Digests,
    workers: Workers,
    report: Callable[[str], None],
    thresholds: Thresholds,
    leaving: Collection[str] = (),
    allow_empty: bool = False,
) -> Reconciled:
    """Scores what is stale, then moves and encodes what has to be; whatever ends it, the next run goes on from there.

    The sources that are `leaving` go with all their rows. RequestError, before any row is dropped or leaves `clips`,
    when no clip would be left of a dataset that has some, unless that is allowed.
    """
    done = Reconciled()
    leaving = frozenset(leaving)
    places = writer.source_places()
    stale = [row for row in _rows(writer, leaving) if row[SCORER] != digests.scorer]
    if stale:
        report(f"scoring {len(stale)} clips of another CLIP model anew")
        again = [
            Rewrite(row[CLIP_ID], row["ref"], score=True, place=places.get(row[SOURCE_ID])) for row in stale
        ]
        done.rescored = len(_apply(again, writer, recipe, workers, done))
    _measure(writer, recipe, workers, report, places, leaving, done)
    rows = list(_rows(writer, leaving, evidence_columns(thresholds.settings)))
    placements = place(rows, thresholds.settings, writer.official_splits(), recipe.measures)
    placed = list(zip(rows, placements, strict=True))
    jobs = [
        job for row, placement in placed if (job := _job(row, placement, recipe, digests, places)) is not None
    ]
    moving = _moving(placed) & {job.clip_id for job in jobs}
    to_encode = [job for job in jobs if job.encode]
    if jobs:
        captioned = sum(job.caption for job in jobs)
        more = f", {captioned} get captions by {recipe.captioner.model}" if captioned else ""
        report(f"{len(moving)} clips change tables, {len(to_encode)} are encoded{more}")
    # What comes in comes first: whether a clip will be left hangs on whether it can be encoded.
    encoded = _apply(to_encode, writer, recipe, workers, done)
    if not allow_empty:
        unavailable = {job.clip_id for job in to_encode} - encoded
        refuse_to_empty(writer, placed, unavailable, leaving, thresholds)
    if leaving:
        writer.drop_sources(leaving)
    changed = _apply([job for job in jobs if not job.encode], writer, recipe, workers, done)
    done.encoded, done.moved = len(encoded), len(moving & (encoded | changed))
    done.captioned = sum(job.caption and job.clip_id not in done.failures for job in jobs)
    return done


def _measure(
    writer: DatasetWriter,
    recipe: Recipe,
    workers: Workers,
    report: Callable[[str], None],
    places: dict[str, str],
    leaving: Collection[str],
    done: Reconciled,
) -> None:
    """Measures what filters that are on ask of networks where rows lack it, and says before how many do."""
    jobs = [
        Rewrite(row[CLIP_ID], row["ref"], measures=lacking, place=places.get(row[SOURCE_ID]))
        for row in (_rows(writer, leaving) if recipe.measures else ())
        if (lacking := unmeasured(row, recipe.measures))
    ]
    if jobs:
        counts = Counter(measure.name for job in jobs for measure in job.measures)
        report("measuring " + ", ".join(f"{name} of {count} clips" for name, count in counts.items()))
        for measure in recipe.measures:
            measure.load()  # one that cannot be loaded is refused here, in one line
        done.measured = len(_apply(jobs, writer, recipe, workers, done))


def _moving(placed: Iterable[tuple[dict[str, Any], Placement]]) -> set[str]:
    """Gives the clips that are in another table than where they belong."""
    return {
        row[CLIP_ID] for row, placement in placed if (placement.reason is None) != (row["table"] == "clips")
    }


def _rows(
    writer: DatasetWriter, leaving: Collection[str], more_columns: Sequence[str] = ()
) -> Iterator[dict[str, Any]]:
    """The rows of both tables with `table`, `ref` and (None in clips) `reason`, but for those of sources that leave."""
    columns = [ROW, *COLUMNS, *more_columns]
    for table, more in (("clips", ()), ("rejected", (REASON,))):
        reader = writer.table(table)
        for batch in reader.batches([*columns, *more], fill=True):
            for row in batch.to_pylist():
                if row[SOURCE_ID] not in leaving:
                    ref = RowRef(writer.dataset_dir, table, reader.version, row.pop(ROW))
                    yield row | {"table": table, "ref": ref, REASON: row.get(REASON)}


def _job(
    row: dict[str, Any], placement: Placement, recipe: Recipe, digests: Digests, places: dict[str, str]
) -> Rewrite | None:
    """Tells what has to be done to a row; None when it is as it should be."""
    encode = placement.reason is None and row[ENCODER] != digests.encoder
    caption = placement.reason is None and lacks_captions(row, recipe)
    changes = placement._asdict()
    if not encode and not caption and all(row[name] == value for name, value in changes.items()):
        return None
    return Rewrite(
        row[CLIP_ID], row["ref"], changes, encode=encode, caption=caption, place=places.get(row[SOURCE_ID])
    )


def lacks_captions(row: dict[str, Any], recipe: Recipe) -> bool:
    """Tells whether a model is to write captions beside the row's own; its own ones go with the source."""
    return recipe.captions_all and row[CAPTIONER] != recipe.captioned_by and row["caption_origin"] != "model"


def _apply(
    jobs: Sequence[Rewrite], writer: DatasetWriter, recipe: Recipe, workers: Workers, done: Reconciled
) -> set[str]:
    """Carries the jobs out and commits them in groups; the clip_ids of those that could be done."""
    if not jobs:
        return set()
    writer.complete_columns()
    on_workers = any(job.score or job.encode or job.measures or job.caption for job in jobs)
    results = (
        workers.executor(len(jobs)).rewrite(_chunks(jobs)) if on_workers else map(rewrite_rows, _chunks(jobs))
    )
    group, written = RowGroup(), set[str]()
    for result in results:
        done.failures |= result.failures
        written.update(result.group.clips_ids, result.group.rejected_ids)
        for name, values in vars(group).items():
            values += getattr(result.group, name)
        if len(group.clips_ids) + len(group.rejected_ids) >= recipe.build.commit_rows:
            writer.rewrite(group)
            group = RowGroup()
    writer.rewrite(group)
    return written


def _chunks(jobs: Iterable[Rewrite]) -> Iterator[list[Rewrite]]:
    iterator = iter(jobs)
    while chunk := list(islice(iterator, ROWS_PER_CALL)):
        yield chunk
