"""Shows the gate's decision on a page: champion and candidate with their intervals, and their difference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tasks.evaluation.verdict import Decision, MetricComparison, Role
from tasks.pages.interval_charts import Kind, Mark, difference_chart, values_chart
from tasks.pages.metric_names import title
from tasks.pages.page import write_page
from tasks.pages.svg import Chart
from vidrd_model.metrics.intervals import Estimate

Meaning = Literal["better", "worse", "unsure"]
_ROLES: dict[Role, str] = {
    "gate": "decides",
    "floor": "every candidate must clear it",
    "signature": "a failure that the method is prone to",
    "shown": "decides nothing",
}


@dataclass(frozen=True)
class ShownComparison:
    """Holds one metric as the page shows it; `difference` is None where there was no champion."""

    compared: MetricComparison
    meaning: Meaning | None
    values: Chart
    difference: Chart | None


def write_decision(
    decision: Decision, candidate: int, champion: int | None, setup: Mapping[str, Any], path: Path
) -> Path:
    """Writes the page of a decision; the file appears whole or not at all, RequestError when it cannot be written.

    `candidate` and `champion` are versions, `setup` says what both were evaluated under.
    """
    ordered = sorted(decision.comparisons, key=lambda compared: list(_ROLES).index(compared.role))
    return write_page(
        "decision.html",
        path,
        decision=decision,
        candidate=candidate,
        champion=champion,
        setup=setup,
        comparisons=[_shown(compared, candidate, champion) for compared in ordered],
        title=title,
        roles=_ROLES,
    )


def meaning(difference: Estimate, better: str) -> Meaning:
    """Says what the interval of candidate minus champion means.

    It says nothing (unsure) when it holds zero or has no ends, and where neither way is better.
    """
    low, high = difference.low, difference.high
    if better not in ("lower", "higher") or not (low > 0 or high < 0):
        return "unsure"
    return "better" if (high < 0) == (better == "lower") else "worse"


def _shown(compared: MetricComparison, candidate: int, champion: int | None) -> ShownComparison:
    name, difference = title(compared.name), compared.difference
    marks = []
    if compared.champion is not None:
        marks.append(_mark(f"champion v{champion}", compared.champion, "before"))
    marks.append(_mark(f"candidate v{candidate}", compared.candidate, "after"))
    if compared.real is not None:
        marks.append(_mark("real clips", compared.real, "plain"))
    verdict = chart = None
    if difference is not None:
        verdict = meaning(difference, compared.better)
        what = "candidate minus champion"
        mark = _mark("difference", difference, verdict)
        chart = difference_chart(f"{name}: {what}", f"{name}, {what}", mark)
    values = values_chart(f"{name} of champion and candidate", name, marks)
    return ShownComparison(compared, verdict, values, chart)


def _mark(label: str, estimate: Estimate, kind: Kind) -> Mark:
    return Mark(label, estimate.value, estimate.low, estimate.high, kind)
