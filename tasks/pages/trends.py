"""Writes the trends page: every recorded evaluation of every version over time, and what was decided."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from storage.registry.evaluations import EvaluationPoint, PromotionEvent
from tasks.pages.interval_charts import Mark, trend_chart
from tasks.pages.metric_names import REFERENCE, column_order, direction, title
from tasks.pages.page import write_page
from tasks.pages.svg import Chart

_WORDS = {"promote": "proposed", "refuse": "not proposed", "cannot-judge": "cannot be judged"}


@dataclass(frozen=True)
class Trend:
    """Holds one metric in one set-up, over all versions evaluated so."""

    name: str
    better: Literal["lower", "higher"] | None
    chart: Chart
    newest: EvaluationPoint
    real: float | None
    num_points: int


@dataclass(frozen=True)
class Setup:
    """Holds evaluations that compare: one protocol, one number of videos, one set of real clips."""

    protocol: str
    n: int
    reference: str
    trends: Sequence[Trend]


def write_trends(
    points: Sequence[EvaluationPoint], events: Sequence[PromotionEvent], champion: int | None, path: Path
) -> Path:
    """Writes the page; the file appears whole or not at all, RequestError when it cannot be written.

    Points and events come oldest first; `champion` is the version that is champion now.
    """
    champions = {event.version for event in events if event.outcome in ("promoted", "rolled back")}
    if champion is not None:
        champions.add(champion)
    return write_page(
        "trends.html",
        path,
        setups=trend_setups(points, champions),
        events=list(reversed(events)),
        champion=champion,
        num_versions=len({point.version for point in points}),
        num_evaluations=len({(point.version, point.at) for point in points}),
        title=title,
        words=_WORDS,
    )


def trend_setups(points: Sequence[EvaluationPoint], champions: Collection[int]) -> list[Setup]:
    """Makes one set-up per protocol, number of videos and reference, each with a chart per metric."""
    grouped: dict[tuple[str, int, str], dict[str, list[EvaluationPoint]]] = {}
    for point in points:
        setup = grouped.setdefault((point.protocol, point.n, point.reference), {})
        setup.setdefault(point.name, []).append(point)
    setups = []
    for (protocol, n, reference), metrics in sorted(grouped.items()):
        names = column_order(name for name in metrics if not name.endswith(REFERENCE))
        trends = [_trend(metrics[name], metrics.get(name + REFERENCE), champions) for name in names]
        setups.append(Setup(protocol, n, reference, trends))
    return setups


def _trend(
    points: Sequence[EvaluationPoint], real: Sequence[EvaluationPoint] | None, champions: Collection[int]
) -> Trend:
    name = points[0].name
    level = real[-1].value if real else None
    marks = [
        Mark(
            f"v{point.version}",
            point.value,
            point.low,
            point.high,
            "champion" if point.version in champions else "plain",
            _hint(point),
        )
        for point in points
    ]
    chart = trend_chart(f"{title(name)} by version, {points[0].setup}", title(name), marks, level)
    return Trend(name, direction(name), chart, points[-1], level, len(points))


def _hint(point: EvaluationPoint) -> str:
    interval = "" if point.low is None or point.high is None else f" [{point.low:.4g}, {point.high:.4g}]"
    return f"version {point.version}, {point.at:%Y-%m-%d %H:%M}: {point.value:.4g}{interval}"
