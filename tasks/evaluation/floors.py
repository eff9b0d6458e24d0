"""What every candidate must reach, champion or not: bounds that junk does not clear.

Networks and worlds differ, so bounds hang on what the real clips give wherever they can.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from tasks.evaluation.features import Measures
from tasks.evaluation.metrics import Figure
from tasks.evaluation.settings import GateSettings
from tasks.evaluation.verdict import Comparison
from vidrd_model.metrics.intervals import Estimate

SEAMS = ("seam_boundary", "seam_guided_to_free")


def floors(
    known: Mapping[str, Figure],
    candidate: Mapping[str, Estimate],
    real: Mapping[str, Estimate],
    reference: Measures,
    gate: GateSettings,
    blind: str | None,
) -> Iterator[Comparison]:
    """Each bound beside the candidate's figure; `candidate` and `real` hold the figures that could be taken.

    `blind` is why CLIP is no judge here: then its figures bound nothing.
    """
    for name in ("text_score", "text_contrast"):
        if blind is not None:
            yield _floor(known[name], candidate[name], False, blind, real[name])
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


def _text_floor(figure: Figure, mine: Estimate, real: Estimate, gate: GateSettings) -> Comparison:
    least = gate.text_score_share * real.value
    # A contrast that chance may have made is none, however large.
    by_chance = figure.name == "text_contrast" and mine.low <= 0
    says = (
        f"The candidate's {figure.name} {mine.value:.4f} is below the floor {least:.4f}, "
        f"{gate.text_score_share:.0%} of what the reference clips score."
    )
    if by_chance and mine.value >= least:
        says = (
            f"The candidate's {figure.name} {mine.value:.4f} may be chance: "
            f"its 95% interval begins at {mine.low:.4f}."
        )
    return _floor(figure, mine, mine.value >= least and not by_chance, says, real)


def _frozen(figure: Figure, mine: Estimate, real: Estimate, gate: GateSettings) -> Comparison:
    most = real.value + gate.frozen_ceiling
    says = (
        f"The candidate stands still: {figure.name} {mine.value:.2f} is above {most:.2f}, "
        f"{gate.frozen_ceiling:g} more than the reference clips'."
    )
    return _floor(figure, mine, mine.value <= most, says, real)


def _ceiling(figure: Figure, mine: Estimate, most: float, fault: str) -> Comparison:
    says = f"The candidate {fault}: {figure.name} {mine.value:.2f} is above {most:g}."
    return _floor(figure, mine, mine.value <= most, says)


def _distance(figure: Figure, mine: Estimate, reference: Measures, gate: GateSettings) -> Comparison:
    """In units of the real clips' own spread, the trace of their features' covariance: I3D's logits have no unit."""
    most = gate.fvd_ceiling * float(np.var(reference.i3d_nwd[:, 0].astype(np.float64), axis=0, ddof=1).sum())
    says = (
        f"The candidate is unlike the reference clips: {figure.name} {mine.value:.4g} is above {most:.4g}, "
        f"{gate.fvd_ceiling:g} times their own spread."
    )
    return _floor(figure, mine, mine.value <= most, says)


def _floor(
    figure: Figure, mine: Estimate, passes: bool, says: str, real: Estimate | None = None
) -> Comparison:
    return Comparison(
        figure.name, figure.better, "floor", mine, real=real, passes=passes, says="" if passes else says
    )
