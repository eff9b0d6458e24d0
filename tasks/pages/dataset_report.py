"""Writes the report of a dataset from a build's tables and builds.json, with nothing from a run's memory."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from storage.dataset.builds import Build, builds_until, last_with
from storage.dataset.clip_dataset import ClipDataset
from storage.dataset.folder import bytes_below, table_path
from tasks.captions.cut_captions import cut_lines
from tasks.ingest.thresholds import describe_thresholds
from tasks.pages.charts import stacked_histogram
from tasks.pages.dataset_counts import DatasetCounts, count_dataset
from tasks.pages.dataset_samples import show_samples
from tasks.pages.dataset_signals import MEASURES, Measure
from tasks.pages.dataset_thresholds import near_thresholds, show_thresholds
from tasks.pages.histogram import Histogram
from tasks.pages.page import write_page
from tasks.pages.svg import Chart

SHOWN_BUILDS = 20
SHOWN_ERRORS = 5  # per stage, the commonest
SHOWN_LABELS = 12
TRIED = "tried here, not applied"


@dataclass(frozen=True)
class MeasureChart:
    """Holds one histogram; `chart` is None when the build filled no value of this measure."""

    measure: Measure
    values: Histogram
    thresholds: Mapping[str, float]
    chart: Chart | None


@dataclass(frozen=True)
class StageTime:
    """Holds a stage's seconds over all workers, and the clips it got through per second of them."""

    name: str
    seconds: float
    clips_per_s: float | None


def write_dataset_report(dataset: ClipDataset, path: Path, tried: Mapping[str, float] | None = None) -> Path:
    """Writes the page of a build; memory does not grow with the number of its rows.

    `tried` are thresholds by name that are shown in the place of those in force, and not applied.
    """
    builds = builds_until(dataset.folder, dataset.tag)
    thresholds = describe_thresholds(builds, None)
    thresholds |= {name: {"value": value, "from": TRIED} for name, value in (tried or {}).items()}
    values = {name: told["value"] for name, told in thresholds.items()}
    near = near_thresholds(values)

    def look(table: str, batch: pa.Table) -> None:
        for one in near:
            one.take(table, batch)

    counts = count_dataset(dataset, on_batch=look)
    return write_page(
        "dataset_report.html",
        path,
        name=dataset.folder.absolute().name,
        tag=dataset.tag,
        build=dataset.build,
        counts=counts,
        sources=sum(corpus.sources for corpus in counts.corpora.values()),
        failed=sum(corpus.failed for corpus in counts.corpora.values()),
        kept=counts.rows["clips"],
        rejected=counts.rows["rejected"],
        charts=_charts(counts, values),
        near=show_thresholds(dataset, near),
        thresholds=thresholds,
        cut_captions=_cut_captions(builds),
        samples=show_samples(dataset, counts),
        timed=_timed_build(builds),
        stages=_stages(_timed_build(builds)),
        builds=builds[-SHOWN_BUILDS:],
        older_builds=max(0, len(builds) - SHOWN_BUILDS),
        storage=_storage(dataset, counts),
        errors={stage: errors.most_common(SHOWN_ERRORS) for stage, errors in counts.errors.items()},
        labels={name: _most_common(counts, name) for name in counts.labels},
        latent_shape=dataset.latent_shape,
    )


def _cut_captions(builds: Sequence[Build]) -> list[str] | None:
    """Returns a line for each tokenizer that cuts captions; None where no build has counted them."""
    build = last_with(builds, "cut_captions")
    return None if build is None else cut_lines(build.summary["cut_captions"])


def _timed_build(builds: Sequence[Build]) -> Build | None:
    """Finds the last build that made clips and noted how long that took."""
    timed = (
        build for build in reversed(builds) if build.summary.get("clips") and build.summary.get("seconds")
    )
    return next(timed, None)


def _stages(build: Build | None) -> list[StageTime]:
    if build is None:
        return []
    clips, encoded = build.summary["clips"], build.summary.get("encoded")
    stages = []
    for name, seconds in build.summary["seconds"].items():
        handled = encoded if name == "encode" and encoded is not None else clips
        if name != "wall":
            stages.append(StageTime(name, seconds, handled / seconds if seconds else None))
    return stages


def _charts(counts: DatasetCounts, settings: Mapping[str, Any]) -> list[MeasureChart]:
    charts = []
    for measure in MEASURES:
        values = counts.histograms[measure.name]
        thresholds = measure.thresholds(settings)
        chart = None
        if values.total:
            label = f"Histogram of {measure.name}, clips kept below, rejected on top of them"
            chart = stacked_histogram(values, label, measure.axis, list(thresholds.values()), measure.least)
        charts.append(MeasureChart(measure, values, thresholds, chart))
    return charts


def _storage(dataset: ClipDataset, counts: DatasetCounts) -> list[dict[str, Any]]:
    """Measures the bytes on disk by table, all versions together, and per row of this build."""
    tables = []
    for table, rows in counts.rows.items():
        num_bytes = bytes_below(table_path(dataset.folder, table))
        per_row = num_bytes / rows if rows else math.nan
        version = dataset.build.versions[table]
        tables.append(
            {"table": table, "version": version, "rows": rows, "bytes": num_bytes, "per_row": per_row}
        )
    return tables


def _most_common(counts: DatasetCounts, name: str) -> list[tuple[str, int]]:
    """Returns the commonest values of a label, the others as one."""
    found = counts.labels[name].most_common()
    rest = sum(number for _, number in found[SHOWN_LABELS:])
    return found[:SHOWN_LABELS] + ([("others", rest)] if rest else [])
