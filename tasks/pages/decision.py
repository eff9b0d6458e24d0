"""Shows the gate's decision on a page: champion and candidate with their intervals, and their difference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tasks.pages.interval_charts import Kind, Mark, difference_chart, values_chart
from tasks.pages.metric_names import title
from tasks.pages.page import write_page
from tasks.pages.svg import Chart

Meaning = Literal["better", "worse", "unsure"]
_ROLES = {
    "gate": "decides",
    "floor": "every candidate must clear it",
    "signature": "a failure that the method is prone to",
    "shown": "decides nothing",
}
_SIDES: dict[str, Kind] = {"champion": "before", "candidate": "after"}


@dataclass(frozen=True)
class ShownComparison:
    """Holds one metric as the page shows it; `difference` is None where there was no champion."""

    name: str
    better: str
    role: str
    passes: bool
    says: str
    meaning: Meaning | None
    values: Chart
    difference: Chart | None


def write_decision(decision: Mapping[str, Any], path: Path) -> Path:
    """Writes the page of a decision; the file appears whole or not at all, RequestError when it cannot be written.

    Keys of `decision`: verdict, reason, champion and candidate (versions; champion may be None), setup (what both
    were evaluated under) and comparisons, each with name, better ("lower" or "higher"), champion, candidate and
    difference (candidate minus champion), these three {value, low, high} or None, role ("gate", "signature" or
    "floor"), passes and says; `real`, where there is one, is what the real clips give. An interval that was not taken
    has low and high None.
    """
    ordered = sorted(decision["comparisons"], key=lambda item: list(_ROLES).index(item["role"]))
    comparisons = [_shown(item, decision) for item in ordered]
    return write_page("decision.html", path, d=decision, comparisons=comparisons, title=title, roles=_ROLES)


def meaning(difference: Mapping[str, float | None], better: str) -> Meaning:
    """Says what the interval of candidate minus champion means.

    It says nothing (unsure) when it holds zero or was not taken, and where neither way is better.
    """
    low, high = difference["low"], difference["high"]
    if better not in ("lower", "higher") or low is None or high is None or low <= 0 <= high:
        return "unsure"
    return "better" if (high < 0) == (better == "lower") else "worse"


def _shown(item: Mapping[str, Any], decision: Mapping[str, Any]) -> ShownComparison:
    sides = [(role, decision[role], item[role]) for role in _SIDES if item[role] is not None]
    name = title(item["name"])
    marks = [
        Mark(f"{role} v{version}", side["value"], side["low"], side["high"], _SIDES[role])
        for role, version, side in sides
    ]
    real = item.get("real")
    if real is not None:
        marks.append(Mark("real clips", real["value"], real["low"], real["high"], "plain"))
    difference, verdict = item["difference"], None
    chart = None
    if difference is not None:
        verdict = meaning(difference, item["better"])
        mark = Mark("difference", difference["value"], difference["low"], difference["high"], verdict)
        chart = difference_chart(
            f"{name}: candidate minus champion", f"{name}, candidate minus champion", mark
        )
    return ShownComparison(
        item["name"],
        item["better"],
        item["role"],
        item["passes"],
        item["says"],
        verdict,
        values_chart(f"{name} of champion and candidate", name, marks),
        chart,
    )
