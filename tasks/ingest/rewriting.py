"""Rows of a dataset written again: with other columns, scored or encoded anew, in the table where they now belong."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from storage.dataset.columns import CLIP_ID, REASON
from storage.dataset.tables import RowRef, read_table
from storage.dataset.writer import RowGroup
from tasks.filters.measures import Measures, measured
from tasks.ingest.frames import frames_of
from tasks.ingest.rows import write_clip_rows

if TYPE_CHECKING:
    from tasks.ingest.scoring import ScoringModels


@dataclass(frozen=True)
class Rewrite:
    """One row and what becomes of it: `changes` to its columns, a new score, new latents, captions by a model.

    `measures` are made of its frames. `place` is where its source was, as the ledger has it: needed where no mp4 is
    kept.
    """

    clip_id: str
    ref: RowRef
    changes: dict[str, Any] = field(default_factory=dict)
    score: bool = False
    encode: bool = False
    measures: Measures = ()
    caption: bool = False
    place: str | None = None


@dataclass
class Rewritten:
    """Uncommitted rows, and why others could not be made: they stay as they are."""

    group: RowGroup = field(default_factory=RowGroup)
    failures: dict[str, str] = field(default_factory=dict)


def rewrite_rows(
    jobs: Sequence[Rewrite],
    models: ScoringModels | None = None,
    frames_of: Callable[[dict[str, Any], str | None], np.ndarray] = frames_of,
) -> Rewritten:
    """Writes the rows of these jobs into fragments; models are needed where something is scored or encoded."""
    done, rows = Rewritten(), []
    for job, row in zip(jobs, _read(jobs), strict=True):
        try:
            rows.append(_rewrite(job, row, models, frames_of))
        except Exception as error:  # one row's missing source must not keep the others from being written
            done.failures[job.clip_id] = _reason(error)
    to_caption = {job.clip_id: job.place for job in jobs if job.caption}
    if to_caption and models is not None:
        _add_captions(
            [row for row in rows if row[CLIP_ID] in to_caption], to_caption, models, frames_of, done
        )
    if rows:
        done.group.clips, done.group.rejected, _ = write_clip_rows(jobs[0].ref.dataset_dir, *rows)
    for row in rows:
        ids = done.group.clips_ids if row.get(REASON) is None else done.group.rejected_ids
        ids.append(row[CLIP_ID])
    return done


def _add_captions(
    rows: Sequence[dict[str, Any]],
    places: Mapping[str, str | None],
    models: ScoringModels,
    frames_of: Callable[[dict[str, Any], str | None], np.ndarray],
    done: Rewritten,
) -> None:
    """Adds a model's captions to rows, all in one call; a row that gets none is written without, and named."""
    with_frames = []
    for row in rows:
        try:
            with_frames.append((row, frames_of(row, places[row[CLIP_ID]])))
        except Exception as error:
            done.failures[row[CLIP_ID]] = _reason(error)
    columns = models.captions_again([(frames_nhwc, row[CLIP_ID]) for row, frames_nhwc in with_frames])
    for (row, _), given in zip(with_frames, columns, strict=True):
        if isinstance(given, Exception):
            done.failures[row[CLIP_ID]] = _reason(given)
        else:
            row |= given


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _read(jobs: Sequence[Rewrite]) -> list[dict[str, Any]]:
    """Reads the rows of the jobs, in their order, with one read per table."""
    found: dict[RowRef, dict[str, Any]] = {}
    for table, refs in groupby(sorted(job.ref for job in jobs), key=lambda ref: ref[:3]):
        same_table = list(refs)
        rows = read_table(*table).whole_rows([ref.row for ref in same_table])
        found |= zip(same_table, rows, strict=True)
    return [found[job.ref] for job in jobs]


def _rewrite(
    job: Rewrite,
    row: dict[str, Any],
    models: ScoringModels | None,
    frames_of: Callable[[dict[str, Any], str | None], np.ndarray],
) -> dict[str, Any]:
    if models is not None and (job.score or job.encode):
        # Another aesthetic head reads the same features: for that alone no frame is needed.
        by_features = job.score and not job.encode and models.has_features_of(row)
        frames_nhwc = None if by_features else frames_of(row, job.place)
        if job.score:
            row |= models.score_again(row, frames_nhwc)
        if job.encode and frames_nhwc is not None:
            row |= models.encode_again(frames_nhwc)
    if job.measures:
        row |= measured(frames_of(row, job.place), job.measures)
    return row | job.changes
