"""Which variants to recommend: the best trade-offs between variety and repetition among those that do not fail.

The rule: a variant is sound when none of its failure signatures is beyond its limit: both seam ratios at most the
gate's ceiling, a frozen share at most the real clips' plus the gate's margin, and a text score of at least the gate's
share of the real clips'. Recommended are the sound variants that no other sound one beats (the Pareto set): none has at
least their `between_clips` and at most their `cycling`, and one of the two better.
"""

from __future__ import annotations

from collections.abc import Sequence

from tasks.evaluation.settings import GateSettings
from tasks.experiments.results import Row, value_of

SEAM_RATIOS = ("seam_boundary", "seam_guided_to_free")


def failures(row: Row, real: Row, gate: GateSettings) -> list[str]:
    """Returns the signatures of a variant that are beyond their limits; a metric that is missing is beyond none."""

    def metric(of: Row, name: str, missing: float) -> float:
        return value_of(of.metrics[name]) if name in of.metrics else missing

    failed = [name for name in SEAM_RATIOS if metric(row, name, 0.0) > gate.seam_ceiling]
    if metric(row, "frozen", 0.0) > metric(real, "frozen", 0.0) + gate.signature_margin:
        failed.append("frozen")
    scored = metric(real, "text_score_end", 0.0)
    # Where real clips score nothing or less CLIP does not know them, and a share of that bounds nothing.
    if scored > 0 and metric(row, "text_score_end", float("inf")) < gate.text_score_share * scored:
        failed.append("text_score_end")
    return failed


def recommended(rows: Sequence[Row], real: Row, gate: GateSettings) -> list[Row]:
    """Returns the Pareto set of the sound variants; none where variety or cycling was not measured."""
    measured = [row for row in rows if {"between_clips", "cycling"} <= row.metrics.keys()]
    sound = [row for row in measured if not failures(row, real, gate)]
    return [row for row in sound if not any(_beats(other, row) for other in sound)]


def _beats(other: Row, row: Row) -> bool:
    variety, least = value_of(other.metrics["between_clips"]), value_of(row.metrics["between_clips"])
    cycling, most = value_of(other.metrics["cycling"]), value_of(row.metrics["cycling"])
    return variety >= least and cycling <= most and (variety > least or cycling < most)
