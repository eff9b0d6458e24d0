"""The gate: whether a candidate is good enough, and surely better, to replace the champion.

Both were measured on the same prompts, seeds and real clips, so their rows are pairs and the interval of their
difference is that of the pairs. What an interval cannot tell from chance is no improvement.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tasks.evaluation.figures import Figure, figures
from tasks.evaluation.measures import Measures
from tasks.evaluation.protocols import Protocol
from tasks.evaluation.settings import GateSettings
from vidrd_model.metrics.intervals import Estimate

SEAMS = ("seam_boundary", "seam_guided_to_free")


@dataclass(frozen=True)
class Comparison:
    """One figure of both models; `role` is what it decides: `gate`, `signature`, `floor` or `shown`."""

    name: str
    better: str
    role: str
    candidate: Estimate
    champion: Estimate | None = None
    difference: Estimate | None = None
    passes: bool = True
    says: str = ""


@dataclass(frozen=True)
class Decision:
    """Promote or not, why in one sentence, and every figure that was looked at."""

    promote: bool
    reason: str
    comparisons: list[Comparison] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as reports and pages take them."""
        return {
            "verdict": "promote" if self.promote else "refuse",
            "reason": self.reason,
            "comparisons": [asdict(comparison) for comparison in self.comparisons],
        }


def decide(
    candidate: Measures,
    champion: Measures | None,
    reference: Measures,
    protocol: Protocol,
    gate: GateSettings,
) -> Decision:
    """Whether the candidate becomes champion; `champion` is None when there is none.

    Every candidate must clear the floors. Beside a champion, the interval of the difference in FVD (in text score,
    where one of them has no FVD) must exclude that nothing has improved, and no failure signature may worsen.
    """
    comparisons = _compare(candidate, champion, reference, protocol, gate)
    failed = [comparison for comparison in comparisons if not comparison.passes]
    if failed:
        return Decision(False, failed[0].says, comparisons)
    if champion is None:
        reason = "There is no champion, and the candidate clears every floor of the gate."
        return Decision(True, reason, comparisons)
    says = next(comparison.says for comparison in comparisons if comparison.role == "gate")
    return Decision(True, says, comparisons)


def _compare(
    candidate: Measures,
    champion: Measures | None,
    reference: Measures,
    protocol: Protocol,
    gate: GateSettings,
) -> list[Comparison]:
    known = list(figures(protocol.ddof, protocol.is_splits))
    estimates = {figure.name: figure.estimate(candidate, reference) for figure in known}
    comparisons = _floors(known, estimates, reference, gate)
    if champion is None:
        return comparisons
    decides = _gate_figure(known, candidate, champion, reference)
    for figure in known:
        mine, theirs = estimates[figure.name], figure.estimate(champion, reference)
        if mine is None or theirs is None:
            continue
        difference = figure.difference(candidate, champion, reference)
        assert difference is not None
        seen = Comparison(figure.name, figure.better, "shown", mine, theirs, difference)
        if figure.name == decides:
            seen = _must_improve(seen)
        elif figure.signature or figure.name == "text_score":
            seen = _must_not_worsen(seen, _margin(figure, reference, gate))
        comparisons.append(seen)
    return comparisons


def _floors(
    known: list[Figure], estimates: Mapping[str, Estimate | None], reference: Measures, gate: GateSettings
) -> list[Comparison]:
    """What every candidate must reach, champion or not."""
    floors = []
    text = next(figure for figure in known if figure.name == "text_score")
    mine, real = estimates["text_score"], text.estimate(reference, reference)
    if mine is None or real is None:
        raise ValueError("a gate needs at least two videos and two reference clips")
    least = gate.text_score_share * real.value
    says = (
        f"The candidate's text_score {mine.value:.4f} is below the floor {least:.4f}, "
        f"{gate.text_score_share:.0%} of what the reference clips score."
    )
    floors.append(_floor(text, mine, mine.value >= least, says))
    for figure in known:
        ratio = estimates[figure.name]
        if figure.name in SEAMS and ratio is not None:
            says = f"The candidate jumps: {figure.name} {ratio.value:.2f} is above {gate.seam_ceiling:g}."
            floors.append(_floor(figure, ratio, ratio.value <= gate.seam_ceiling, says))
    return floors


def _floor(figure: Figure, mine: Estimate, passes: bool, says: str) -> Comparison:
    return Comparison(figure.name, figure.better, "floor", mine, passes=passes, says="" if passes else says)


def _gate_figure(known: list[Figure], candidate: Measures, champion: Measures, reference: Measures) -> str:
    fvd = next(figure for figure in known if figure.name == "fvd")
    both = all(figure is not None for figure in (fvd.estimate(m, reference) for m in (candidate, champion)))
    return "fvd" if both else "text_score"


def _must_improve(seen: Comparison) -> Comparison:
    """The interval of the difference must lie on the better side of zero, all of it."""
    assert seen.champion is not None and seen.difference is not None
    difference = seen.difference
    passes = difference.high < 0 if seen.better == "lower" else difference.low > 0
    reads = "below" if seen.better == "lower" else "above"
    says = (
        f"The candidate's {seen.name} {seen.candidate.value:.4g} is {'surely' if passes else 'not surely'} {reads} the "
        f"champion's {seen.champion.value:.4g}: the difference is {difference.value:.4g}, "
        f"95% interval {difference.low:.4g} to {difference.high:.4g}."
    )
    return _judged(seen, "gate", passes, says)


def _must_not_worsen(seen: Comparison, margin: float) -> Comparison:
    """Worse is a difference beyond the margin whose interval excludes zero."""
    assert seen.champion is not None and seen.difference is not None
    sign = 1 if seen.better == "lower" else -1
    nearest = seen.difference.low if seen.better == "lower" else -seen.difference.high
    passes = not (sign * seen.difference.value > margin and nearest > 0)
    says = (
        f"The candidate's {seen.name} worsens from {seen.champion.value:.4g} to {seen.candidate.value:.4g}, "
        f"by more than {margin:.4g} and beyond chance."
    )
    return _judged(seen, "signature", passes, "" if passes else says)


def _judged(seen: Comparison, role: str, passes: bool, says: str) -> Comparison:
    return Comparison(
        seen.name, seen.better, role, seen.candidate, seen.champion, seen.difference, passes, says
    )


def _margin(figure: Figure, reference: Measures, gate: GateSettings) -> float:
    if figure.name != "text_score":
        return gate.signature_margin
    real = figure.estimate(reference, reference)
    assert real is not None
    return gate.text_score_margin * real.value
