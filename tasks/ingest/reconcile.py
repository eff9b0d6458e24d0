"""Brings the rows of a dataset in line with today's models and thresholds, decoding only what it must.

A build ends with it, and `vidrd dataset refilter` is nothing else: rows scored by another CLIP model are scored anew,
rows move between `clips` and `rejected`, near-duplicates go, splits follow, and what is kept gets latents of today's
encoder where it has none.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from storage.dataset.rows import RowRef
from storage.dataset.writer import DatasetWriter, RowGroup
from tasks.ingest.last_clip import refuse_to_empty
from tasks.ingest.placement import COLUMNS, Placement, evidence_columns, place
from tasks.ingest.pool import Workers, result_of
from tasks.ingest.recipe import Digests, Recipe
from tasks.ingest.rewriting import Rewrite, Rewritten, rewrite_rows
from tasks.ingest.thresholds import Thresholds

ROWS_PER_CALL = 16
CALLS_PER_JUDGE = 2


@dataclass
class Settled:
    """What was done; `failures` are rows that stay as they were, by clip_id, with the reason."""

    rescored: int = 0
    encoded: int = 0
    moved: int = 0
    failures: dict[str, str] = field(default_factory=dict)


def settle(
    writer: DatasetWriter,
    recipe: Recipe,
    digests: Digests,
    workers: Workers,
    report: Callable[[str], None],
    thresholds: Thresholds,
    leaving: Collection[str] = (),
    allow_empty: bool = False,
) -> Settled:
    """Score what is stale, then move and encode what has to be; whatever ends it, the next run goes on from there.

    The sources that are `leaving` go with all their rows. RequestError, before any row is dropped or leaves `clips`,
    when no clip would be left of a dataset that has some, unless that is allowed.
    """
    settled = Settled()
    leaving = frozenset(leaving)
    places = writer.source_places()
    stale = [row for row in _rows(writer, leaving) if row["scorer"] != digests.scorer]
    if stale:
        report(f"scoring {len(stale)} clips of another CLIP model anew")
        again = [
            Rewrite(row["clip_id"], row["ref"], score=True, place=places.get(row["source_id"]))
            for row in stale
        ]
        settled.rescored = len(_apply(again, writer, recipe, workers, settled))
    rows = list(_rows(writer, leaving, evidence_columns(thresholds.settings)))
    placements = place(rows, thresholds.settings, writer.official_splits())
    placed = list(zip(rows, placements, strict=True))
    jobs = [job for row, placement in placed if (job := _job(row, placement, digests, places)) is not None]
    moving = _moving(placed) & {job.clip_id for job in jobs}
    to_encode = [job for job in jobs if job.encode]
    if jobs:
        report(f"{len(moving)} clips change tables, {len(to_encode)} are encoded")
    # What comes in comes first: whether a clip will be left hangs on whether it can be encoded.
    encoded = _apply(to_encode, writer, recipe, workers, settled)
    if not allow_empty:
        unavailable = {job.clip_id for job in to_encode} - encoded
        refuse_to_empty(writer, placed, unavailable, leaving, thresholds)
    if leaving:
        writer.drop_sources(leaving)
    changed = _apply([job for job in jobs if not job.encode], writer, recipe, workers, settled)
    settled.encoded, settled.moved = len(encoded), len(moving & (encoded | changed))
    return settled


def _moving(placed: Iterable[tuple[dict[str, Any], Placement]]) -> set[str]:
    """The clips that are in another table than where they belong."""
    return {
        row["clip_id"] for row, placement in placed if (placement.reason is None) != (row["table"] == "clips")
    }


def _rows(
    writer: DatasetWriter, leaving: Collection[str], more_columns: Sequence[str] = ()
) -> Iterator[dict[str, Any]]:
    """The rows of both tables with `table`, `ref` and (None in clips) `reason`, but for those of sources that leave."""
    for table, data in writer.rows([*COLUMNS, *more_columns]).items():
        for row in data.to_pylist():
            if row["source_id"] in leaving:
                continue
            ref = RowRef(writer.dataset_dir, table, row.pop("version"), row.pop("row"))
            yield row | {"table": table, "ref": ref, "reason": row.get("reason")}


def _job(
    row: dict[str, Any], placement: Placement, digests: Digests, places: dict[str, str]
) -> Rewrite | None:
    """What has to be done to a row; None when it is as it should be."""
    encode = placement.reason is None and row["encoder"] != digests.encoder
    changes = placement._asdict()
    if not encode and all(row[name] == value for name, value in changes.items()):
        return None
    return Rewrite(row["clip_id"], row["ref"], changes, encode=encode, place=places.get(row["source_id"]))


def _apply(
    jobs: Sequence[Rewrite], writer: DatasetWriter, recipe: Recipe, workers: Workers, settled: Settled
) -> set[str]:
    """Carry the jobs out and commit them in groups; the clip_ids of those that could be done."""
    if not jobs:
        return set()
    on_workers = any(job.score or job.encode for job in jobs)
    results = _on_judges(jobs, workers) if on_workers else map(rewrite_rows, _chunks(jobs))
    group, done = RowGroup(), set[str]()
    for result in results:
        settled.failures |= result.failures
        done.update(result.group.clips_ids, result.group.rejected_ids)
        for name, values in vars(group).items():
            values += getattr(result.group, name)
        if len(group.clips_ids) + len(group.rejected_ids) >= recipe.build.commit_rows:
            writer.rewrite(group)
            group = RowGroup()
    writer.rewrite(group)
    return done


def _chunks(jobs: Iterable[Rewrite]) -> Iterator[list[Rewrite]]:
    iterator = iter(jobs)
    while chunk := list(islice(iterator, ROWS_PER_CALL)):
        yield chunk


def _on_judges(jobs: Sequence[Rewrite], workers: Workers) -> Iterator[Rewritten]:
    """The jobs on the judges, each with a call in work and one waiting."""
    judges = workers.pool(len(jobs)).judges
    import ray

    chunks = _chunks(jobs)
    waiting: dict[Any, Any] = {}
    for judge in judges * CALLS_PER_JUDGE:
        if chunk := next(chunks, None):
            waiting[judge.rewrite.remote(chunk)] = judge
    while waiting:
        (ready,), _ = ray.wait(list(waiting), num_returns=1)
        judge = waiting.pop(ready)
        if chunk := next(chunks, None):
            waiting[judge.rewrite.remote(chunk)] = judge
        yield result_of(ready)
