"""The figures of an experiment as SVG: values with intervals, a trade-off, curves over the length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

from markupsafe import Markup

from tasks.experiments.results import Result, Row, value_of
from tasks.pages.interval_charts import Mark, values_chart
from tasks.pages.svg import line, short, svg, text, ticks
from vidrd_model.metrics.intervals import Estimate

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 520, 320, 56, 120, 16, 42
LABEL_HEIGHT = 13.0
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

# A file of its own has no page around it that gives colours to the classes.
_STYLE = """<style>
text { font: 12px system-ui, sans-serif; fill: #333; } .grid { stroke: #e2dfd8; } .axis { stroke: #777; }
.whisker { stroke: #8a97ad; stroke-width: 2.4; stroke-linecap: round; } .dot { fill: #8a97ad; }
.dot.champion, .dot.series-0 { fill: #2f67b8; } .dot.series-1 { fill: #c9642c; } .dot.series-2 { fill: #147a68; }
.dot.series-3 { fill: #8a4a9e; } polyline { fill: none; stroke-width: 2; } .series-0 { stroke: #2f67b8; }
.series-1 { stroke: #c9642c; } .series-2 { stroke: #147a68; } .series-3 { stroke: #8a4a9e; }
</style>"""


def draw_charts(result: Result) -> dict[str, Markup]:
    """All charts of a result by name."""
    if any("peak_mib" in row.figures for row in result.rows):
        return {name: _curves(result, name) for name in OVER_LENGTH if name in result.columns}
    charts = {}
    for name in result.columns:
        if name in CHARTED or " on " in name:
            charts[name.replace(" ", "-")] = values_chart(f"{result.name}: {name}", _marks(result.rows, name))
    if {"between_clips", "cycling"} <= set(result.columns):
        charts["trade-off"] = _scatter(result, "between_clips", "cycling")
    return charts


def write_charts(result: Result, folder: Path) -> dict[str, Path]:
    """Writes `EXPERIMENT-CHART.svg` files that can be looked at by themselves; returns them by the chart's name."""
    paths = {}
    for name, chart in draw_charts(result).items():
        paths[name] = folder / f"{result.name}-{name}.svg"
        alone = str(chart).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
        paths[name].write_text(alone.replace(">", f">{_STYLE}", 1), encoding="utf-8")
    return paths


def _marks(rows: Sequence[Row], name: str) -> list[Mark]:
    marks = []
    for row in rows:
        if (figure := row.figures.get(name)) is not None:
            low, high = (figure.low, figure.high) if isinstance(figure, Estimate) else (None, None)
            css = "champion" if row.remark == "recommended" else "plain"
            marks.append(Mark(row.label, value_of(figure), low, high, css, row.remark))
    return marks


def _scatter(result: Result, x_name: str, y_name: str) -> Markup:
    """A dot for each variant, the recommended ones named and in the accent colour."""
    rows = [row for row in result.rows if {x_name, y_name} <= row.figures.keys()]
    points = [(value_of(row.figures[x_name]), value_of(row.figures[y_name])) for row in rows]
    x_of, y_of, parts = _axes([x for x, _ in points], [y for _, y in points], x_name, y_name)
    for row, (x, y) in zip(rows, points, strict=True):
        best = row.remark == "recommended"
        css = "dot champion" if best else "dot plain"
        title = f"<title>{row.label}</title>"
        parts.append(f'<circle class="{css}" cx="{x_of(x):.1f}" cy="{y_of(y):.1f}" r="5">{title}</circle>')
        if best:
            parts.append(text(x_of(x) + 8, y_of(y) + 4, row.label, "label", "start"))
    return svg(WIDTH, HEIGHT, f"{result.name}: {y_name} against {x_name}", parts)


def _curves(result: Result, name: str) -> Markup:
    """A figure against the length in clips, a curve for each method."""
    rows = [row for row in result.rows if name in row.figures]
    values = [value_of(row.figures[name]) for row in rows]
    x_of, y_of, parts = _axes([row.num_clips for row in rows], [0.0, *values], "clips", name)
    ends: dict[str, tuple[float, float]] = {}
    for series, label in enumerate(dict.fromkeys(row.label for row in rows)):
        points = [
            (x_of(row.num_clips), y_of(value))
            for row, value in zip(rows, values, strict=True)
            if row.label == label
        ]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline class="series-{series}" points="{path}"/>')
        parts += [f'<circle class="dot series-{series}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in points]
        ends[label] = points[-1]
    for (label, (x, _)), y in zip(ends.items(), _apart([y for _, y in ends.values()]), strict=True):
        parts.append(text(x + 8, y + 4, label, "label", "start"))
    return svg(WIDTH, HEIGHT, f"{result.name}: {name} against the length", parts)


def _apart(heights: Sequence[float]) -> list[float]:
    """The heights of labels moved down as far as they would cover one another."""
    moved = list(heights)
    order = sorted(range(len(heights)), key=lambda index: heights[index])
    for above, below in pairwise(order):
        moved[below] = max(moved[below], moved[above] + LABEL_HEIGHT)
    return moved


def _axes(
    xs: Sequence[float], ys: Sequence[float], x_name: str, y_name: str
) -> tuple[Callable[[float], float], Callable[[float], float], list[str]]:
    (x_low, x_high), (y_low, y_high) = _span(xs), _span(ys)
    bottom = HEIGHT - BOTTOM

    def x_of(value: float) -> float:
        return LEFT + (value - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)

    def y_of(value: float) -> float:
        return TOP + (y_high - value) / (y_high - y_low) * (bottom - TOP)

    parts = []
    for tick in ticks(y_low, y_high, 5):
        parts.append(line(LEFT, y_of(tick), WIDTH - RIGHT, y_of(tick), "grid"))
        parts.append(text(LEFT - 6, y_of(tick) + 4, short(tick), "tick", "end"))
    for tick in ticks(x_low, x_high, 6):
        parts.append(text(x_of(tick), bottom + 16, short(tick), "tick", "middle"))
    parts.append(line(LEFT, bottom, WIDTH - RIGHT, bottom, "axis"))
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, x_name, "tick", "middle"))
    parts.append(text(LEFT + 6, TOP + 4, y_name, "label", "start"))
    return x_of, y_of, parts


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    pad = 0.06 * (high - low) or 0.05 * abs(high) or 0.1
    return low - pad, high + pad
