"""Draws the charts of an experiment: values with their intervals, a trade-off, curves over the length."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from matplotlib.axes import Axes

from tasks.experiments.results import Result, Row, value_of
from tasks.pages.axes import name_ticks, padded, tick_room, ticks, x_axis, y_axis
from tasks.pages.interval_charts import Kind, Mark, values_chart
from tasks.pages.metric_names import title
from tasks.pages.svg import Chart, drawing
from tasks.pages.theme import LIGHT
from vidrd_model.metrics.intervals import Estimate

WIDTH, HEIGHT, RIGHT, TOP, BOTTOM = 372, 260, 84, 28, 42
LABEL_HEIGHT = 14.0
CHARTED = (
    "fvd_end",
    "text_score_end",
    "cycling",
    "seam_boundary",
    "seam_guided_to_free",
    "between_clips",
    "motion_end",
    "jump",
    "repeated",
)
OVER_LENGTH = ("seconds_per_frame", "first_frames_s", "peak_mib", "text_score_end", "motion_end", "cycling")
SERIES = ("right", "wrong", "third", "fourth")


def draw_charts(result: Result) -> dict[str, Chart]:
    """Draws all charts of a result, by name."""
    if any("peak_mib" in row.metrics for row in result.rows):
        return {name: _curves(result, name) for name in OVER_LENGTH if name in result.columns}
    charts = {}
    for name in result.columns:
        if name in CHARTED or " on " in name:
            marks = _marks(result.rows, name)
            charts[name.replace(" ", "-")] = values_chart(f"{result.name}: {name}", title(name), marks)
    if {"between_clips", "cycling"} <= set(result.columns):
        charts["trade-off"] = _scatter(result, "between_clips", "cycling")
    return charts


def write_charts(result: Result, folder: Path) -> dict[str, Path]:
    """Writes `EXPERIMENT-CHART.svg` files that can be looked at by themselves; returns them by the chart's name."""
    paths = {}
    for name, chart in draw_charts(result).items():
        paths[name] = folder / f"{result.name}-{name}.svg"
        paths[name].write_text(chart.file_text(), encoding="utf-8")
    return paths


def _marks(rows: Sequence[Row], name: str) -> list[Mark]:
    marks = []
    for row in rows:
        if (figure := row.metrics.get(name)) is not None:
            low, high = (figure.low, figure.high) if isinstance(figure, Estimate) else (None, None)
            kind: Kind = "champion" if _is_best(row) else "plain"
            marks.append(Mark(row.label, value_of(figure), low, high, kind, row.remark))
    return marks


def _has(row: Row, name: str) -> bool:
    """Says whether a row has this metric, and as a number that has a place on an axis."""
    return name in row.metrics and math.isfinite(value_of(row.metrics[name]))


def _is_best(row: Row) -> bool:
    return row.remark == "recommended"


def _scatter(result: Result, x_name: str, y_name: str) -> Chart:
    """Draws a dot for each variant, the recommended ones named and in the accent colour."""
    rows = [row for row in result.rows if _has(row, x_name) and _has(row, y_name)]
    xs, ys = ([value_of(row.metrics[name]) for row in rows] for name in (x_name, y_name))
    x_span, y_span = padded(xs or [0.0], 0.06), padded(ys or [0.0], 0.06)
    named = ticks(*y_span, 6)
    with drawing(WIDTH, HEIGHT, f"{result.name}: {title(y_name)} against {title(x_name)}") as canvas:
        axes = canvas.axes(tick_room(named[1]), 14, TOP, BOTTOM)
        x_axis(axes, *x_span, 6, title(x_name))
        y_axis(axes, y_span, named, title(y_name))
        for row, x, y in zip(rows, xs, ys, strict=True):
            kind, colour = ("champion", "right") if _is_best(row) else ("plain", "plain")
            (dot,) = axes.plot(x, y, "o", color=LIGHT[colour], markeredgecolor=LIGHT["paper"], markersize=10)
            canvas.note(dot, f"dot {kind}", row.label)
            if _is_best(row):
                # On the side where there is room for it.
                side, shift = ("left", 9) if x < sum(x_span) / 2 else ("right", -9)
                axes.annotate(row.label, (x, y), (shift, 0), "data", "offset points", ha=side, va="center")
        return canvas.finish()


def _curves(result: Result, name: str) -> Chart:
    """Draws a metric against the length in clips, a curve for each method."""
    rows = [row for row in result.rows if _has(row, name)]
    span = padded([0.0, *(value_of(row.metrics[name]) for row in rows)], 0.06)
    named = ticks(*span, 6)
    lengths = sorted({row.num_clips for row in rows})
    with drawing(WIDTH, HEIGHT, f"{result.name}: {title(name)} against the length") as canvas:
        axes = canvas.axes(tick_room(named[1]), RIGHT, TOP, BOTTOM)
        x_axis(axes, *padded(lengths or [1], 0.06), 6, "length, clips")
        name_ticks(axes.xaxis, lengths, [str(length) for length in lengths])
        y_axis(axes, span, named, title(name))
        ends = {}
        for series, label in enumerate(dict.fromkeys(row.label for row in rows)):
            mine = [(row.num_clips, value_of(row.metrics[name])) for row in rows if row.label == label]
            colour = LIGHT[SERIES[series % len(SERIES)]]
            (curve,) = axes.plot(*zip(*mine, strict=True), "o-", color=colour, linewidth=2, markersize=6)
            canvas.note(curve, f"series-{series}", label)
            ends[label] = mine[-1]
        _name_ends(axes, ends)
        return canvas.finish()


def _name_ends(axes: Axes, ends: dict[str, tuple[int, float]]) -> None:
    """Writes the name of each curve beside its end, where no other name covers it."""
    heights = [axes.transData.transform(end)[1] for end in ends.values()]
    for (label, end), height, moved in zip(ends.items(), heights, _apart(heights), strict=True):
        axes.annotate(label, end, (9, moved - height), "data", "offset points", va="center")


def _apart(heights: Sequence[float]) -> list[float]:
    """Moves labels, given by their heights, down as far as they would cover one another."""
    moved = list(heights)
    order = sorted(range(len(heights)), key=lambda index: -heights[index])
    for above, below in pairwise(order):
        moved[below] = min(moved[below], moved[above] - LABEL_HEIGHT)
    return moved
