"""The bounds that every candidate must clear, champion or not, and that junk does not clear.

Networks and worlds differ, so bounds hang on what the real clips give wherever they can.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from tasks.evaluation.features import VideoFeatures
from tasks.evaluation.metrics import Metric
from tasks.evaluation.settings import GateSettings
from tasks.evaluation.verdict import MetricComparison
from vidrd_model.metrics.intervals import Estimate

SEAMS = ("seam_boundary", "seam_guided_to_free")


def floors(
    known: Mapping[str, Metric],
    candidate: Mapping[str, Estimate],
    real: Mapping[str, Estimate],
    reference: VideoFeatures,
    gate: GateSettings,
    problem: str | None,
) -> Iterator[MetricComparison]:
    """Yields each bound beside the candidate's metric; `candidate` and `real` hold the metrics that could be taken.

    `problem` is why CLIP cannot judge here: then its metrics bound nothing.
    """
    for name in ("text_score", "text_contrast"):
        if problem is not None:
            yield _floor(known[name], candidate[name], False, problem, real[name])
        # Cosines may lie about zero, and a share of less than nothing bounds nothing.
        elif real[name].value > 0:
            yield _text_floor(known[name], candidate[name], real[name], gate)
    yield _frozen(known["frozen"], candidate["frozen"], real["frozen"], gate)
    yield _ceiling(known["cycling"], candidate["cycling"], gate.cycling_ceiling, "repeats its earlier clips")
    for name in SEAMS:
        if name in candidate:
            yield _ceiling(known[name], candidate[name], gate.seam_ceiling, "jumps")
    if "fvd" in candidate:
        yield _distance(known["fvd"], candidate["fvd"], reference, gate)


def _text_floor(metric: Metric, mine: Estimate, real: Estimate, gate: GateSettings) -> MetricComparison:
    least = gate.text_score_share * real.value
    # A contrast that chance may have made is none, however large.
    by_chance = metric.name == "text_contrast" and mine.low <= 0
    says = (
        f"The candidate's {metric.name} {mine.value:.4f} is below the floor {least:.4f}, "
        f"{gate.text_score_share:.0%} of what the reference clips score."
    )
    if by_chance and mine.value >= least:
        says = (
            f"The candidate's {metric.name} {mine.value:.4f} may be chance: "
            f"its 95% interval begins at {mine.low:.4f}."
        )
    return _floor(metric, mine, mine.value >= least and not by_chance, says, real)


def _frozen(metric: Metric, mine: Estimate, real: Estimate, gate: GateSettings) -> MetricComparison:
    most = real.value + gate.frozen_ceiling
    says = (
        f"The candidate stands still: {metric.name} {mine.value:.2f} is above {most:.2f}, "
        f"{gate.frozen_ceiling:g} more than the reference clips'."
    )
    return _floor(metric, mine, mine.value <= most, says, real)


def _ceiling(metric: Metric, mine: Estimate, most: float, fault: str) -> MetricComparison:
    says = f"The candidate {fault}: {metric.name} {mine.value:.2f} is above {most:g}."
    return _floor(metric, mine, mine.value <= most, says)


def _distance(
    metric: Metric, mine: Estimate, reference: VideoFeatures, gate: GateSettings
) -> MetricComparison:
    """Bounds the FVD in the real clips' own spread, the trace of their features' covariance: logits have no unit."""
    most = gate.fvd_ceiling * float(np.var(reference.i3d_nwd[:, 0].astype(np.float64), axis=0, ddof=1).sum())
    says = (
        f"The candidate is unlike the reference clips: {metric.name} {mine.value:.4g} is above {most:.4g}, "
        f"{gate.fvd_ceiling:g} times their own spread."
    )
    return _floor(metric, mine, mine.value <= most, says)


def _floor(
    metric: Metric, mine: Estimate, passes: bool, says: str, real: Estimate | None = None
) -> MetricComparison:
    return MetricComparison(
        metric.name, metric.better, "floor", mine, real=real, passes=passes, says="" if passes else says
    )
