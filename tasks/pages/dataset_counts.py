"""Counts what a dataset's report shows, from its tables in batches."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from storage.dataset.clip_dataset import ClipDataset
from storage.dataset.table_reader import BATCH_ROWS, ROW
from tasks.pages.dataset_signals import MEASURES
from tasks.pages.histogram import Histogram

LABELS = ("corpus", "kind", "licence", "split", "caption_origin", "scorer", "encoder")
SAMPLES = 5  # of each corpus, each reason and the near-duplicates
ERRORS = 1000  # distinct errors told apart; further ones are counted as others
OTHER_ERRORS = "other errors"
REPLACED = "…"

OnBatch = Callable[[str, pa.Table], None]


@dataclass
class CorpusCounts:
    """Counts what became of one corpus: sources in the ledger and clips in the tables."""

    kind: str
    sources: int = 0
    failed: int = 0
    kept: int = 0
    rejected: int = 0

    @property
    def clips(self) -> int:
        """The number of clips made, kept or not."""
        return self.kept + self.rejected


@dataclass(frozen=True)
class Sample:
    """Names a clip to be shown: the row `row` of a table."""

    table: str
    row: int
    clip_id: str


@dataclass
class DatasetCounts:
    """Holds the counts of a build; it grows with the corpora, reasons and labels, not with the rows."""

    rows: dict[str, int]
    corpora: dict[str, CorpusCounts] = field(default_factory=dict)
    reasons: dict[str, Counter[str]] = field(default_factory=dict)
    labels: dict[str, Counter[str]] = field(default_factory=lambda: {name: Counter() for name in LABELS})
    histograms: dict[str, Histogram] = field(
        default_factory=lambda: {measure.name: Histogram(("kept", "rejected")) for measure in MEASURES}
    )
    kept_s: float = 0.0
    near_duplicates: Counter[str] = field(default_factory=Counter)
    failed_stages: Counter[str] = field(default_factory=Counter)
    errors: dict[str, Counter[str]] = field(default_factory=dict)
    kept_samples: dict[str, list[Sample]] = field(default_factory=dict)
    rejected_samples: dict[str, list[Sample]] = field(default_factory=dict)
    duplicate_samples: list[Sample] = field(default_factory=list)

    def corpus(self, name: str | None, kind: str | None) -> CorpusCounts:
        """Returns the counts of a corpus, which are made when it is met first."""
        return self.corpora.setdefault(name or "?", CorpusCounts(kind or "?"))


def count_dataset(
    dataset: ClipDataset, batch_rows: int = BATCH_ROWS, on_batch: OnBatch = lambda table, batch: None
) -> DatasetCounts:
    """Scans the tables of a build once, a batch at a time; the counts do not depend on its size.

    `on_batch` is given every batch of clips with the name of its table.
    """
    counts = DatasetCounts({table: dataset.table(table).count_rows() for table in dataset.build.versions})
    _count_sources(dataset, counts, batch_rows)
    _count_quarantine(dataset, counts, batch_rows)
    for table in ("clips", "rejected"):
        for batch in _clip_batches(dataset, table, batch_rows):
            _count_labels(batch, table, counts)
            for measure in MEASURES:
                group = "kept" if table == "clips" else "rejected"
                counts.histograms[measure.name].add(group, measure.values(batch))
            _pick_samples(batch, table, counts)
            on_batch(table, batch)
    return counts


def _clip_batches(dataset: ClipDataset, table: str, batch_rows: int) -> Iterator[pa.Table]:
    measured = [column for measure in MEASURES for column in measure.columns]
    columns = [ROW, "clip_id", *LABELS, "duplicate_of", "fps", "num_frames", *measured]
    columns += ["reason"] if table == "rejected" else []
    yield from dataset.table(table).batches(columns, batch_rows=batch_rows, fill=True)


def _count_labels(batch: pa.Table, table: str, counts: DatasetCounts) -> None:
    for row in _groups(batch, ["corpus", "kind"]):
        corpus = counts.corpus(row["corpus"], row["kind"])
        if table == "clips":
            corpus.kept += row["rows"]
        else:
            corpus.rejected += row["rows"]
    if table == "clips":
        for name in LABELS:
            for row in _groups(batch, [name]):
                counts.labels[name][row[name] or "none"] += row["rows"]
        counts.kept_s += pc.sum(pc.divide(batch["num_frames"], batch["fps"])).as_py() or 0.0
    else:
        for row in _groups(batch, ["reason", "corpus"]):
            counts.reasons.setdefault(row["reason"] or "?", Counter())[row["corpus"] or "?"] += row["rows"]
    if "duplicate_of" in batch.column_names:
        counts.near_duplicates[table] += batch.num_rows - batch["duplicate_of"].null_count


def _pick_samples(batch: pa.Table, table: str, counts: DatasetCounts) -> None:
    """Keeps the clips with the smallest ids: ids are hashes, so these are a random few, the same every time."""
    by, groups = ("corpus", counts.kept_samples) if table == "clips" else ("reason", counts.rejected_samples)
    for value in pc.unique(batch[by]).to_pylist():
        if value is not None:
            mine = batch.filter(pc.equal(batch[by], value))
            groups[value] = _smallest(groups.get(value, []), mine, table)
    if "duplicate_of" in batch.column_names:
        pairs = batch.filter(pc.is_valid(batch["duplicate_of"]))
        counts.duplicate_samples = _smallest(counts.duplicate_samples, pairs, table)


def _smallest(samples: list[Sample], batch: pa.Table, table: str) -> list[Sample]:
    if batch.num_rows > SAMPLES:
        batch = batch.take(pc.select_k_unstable(batch, SAMPLES, [("clip_id", "ascending")]))
    new = zip(batch[ROW].to_pylist(), batch["clip_id"].to_pylist(), strict=True)
    samples = samples + [Sample(table, row, clip_id) for row, clip_id in new]
    return sorted(samples, key=lambda sample: sample.clip_id)[:SAMPLES]


def _count_sources(dataset: ClipDataset, counts: DatasetCounts, batch_rows: int) -> None:
    columns = ["corpus", "kind", "failed_stage"]
    for batch in dataset.table("sources").batches(columns, batch_rows=batch_rows, fill=True):
        for row in _groups(batch, columns):
            corpus = counts.corpus(row["corpus"], row["kind"])
            corpus.sources += row["rows"]
            corpus.failed += 0 if row["failed_stage"] is None else row["rows"]


def _count_quarantine(dataset: ClipDataset, counts: DatasetCounts, batch_rows: int) -> None:
    distinct = 0
    columns = ["stage", "error", "source_uri"]
    for batch in dataset.quarantine.batches(columns, batch_rows=batch_rows, fill=True):
        for row in batch.to_pylist():
            stage, error = row["stage"] or "?", error_kind(row)
            counts.failed_stages[stage] += 1
            errors = counts.errors.setdefault(stage, Counter())
            if error not in errors and distinct >= ERRORS:
                error = OTHER_ERRORS
            distinct += error not in errors
            errors[error] += 1


def error_kind(row: Mapping[str, Any]) -> str:
    """Returns a quarantine row's error without what differs from source to source: its name and numbers."""
    error = row["error"] or "?"
    uri = row["source_uri"] or ""
    for name in (uri, uri.rsplit("/", 1)[-1]):
        if name:
            error = error.replace(name, REPLACED)
    return re.sub(r"\d+(\.\d+)?", "N", error)[:300]


def _groups(batch: pa.Table, columns: list[str]) -> list[dict[str, Any]]:
    """Returns the distinct values of the columns with the number of their rows."""
    there = [column for column in columns if column in batch.column_names]
    grouped = batch.group_by(there).aggregate([([], "count_all")])
    grouped = grouped.rename_columns(
        ["rows" if name == "count_all" else name for name in grouped.column_names]
    )
    return [dict.fromkeys(columns) | row for row in grouped.to_pylist()]
