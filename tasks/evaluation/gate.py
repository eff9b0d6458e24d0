"""The gate: whether a candidate is good enough, and surely better, to replace the champion.

Both were measured on the same prompts, seeds and real clips, so their rows are pairs and the interval of their
difference is that of the pairs. What an interval cannot tell from chance is no improvement. Where the
measurement itself fails there is no verdict on the candidate, and the champion stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from tasks.evaluation.features import VideoFeatures
from tasks.evaluation.floors import floors
from tasks.evaluation.judgeable import check_rows, clip_problem, estimate_metric
from tasks.evaluation.metrics import Metric, protocol_metrics
from tasks.evaluation.protocols import Protocol
from tasks.evaluation.settings import GateSettings
from tasks.evaluation.verdict import CannotJudge, Decision, MetricComparison, Role
from vidrd_model.metrics.intervals import Estimate


def decide(
    candidate: VideoFeatures,
    champion: VideoFeatures | None,
    reference: VideoFeatures,
    protocol: Protocol,
    gate: GateSettings,
) -> Decision:
    """Decides whether the candidate becomes champion; `champion` is None when there is none.

    Every candidate must clear the floors. Beside a champion, the interval of the difference in FVD (in text score,
    where there is no I3D) must exclude that nothing has improved, and no failure signature may worsen. The verdict is
    `cannot-judge` where the rows allow none, and where CLIP does not tell right captions of the real clips from wrong
    ones: a CLIP that does not know what the clips show scores junk like anything else.
    """
    try:
        check_rows(candidate, champion, reference, gate)
        problem = clip_problem(protocol, candidate, reference)
        comparisons = list(_compare(candidate, champion, reference, protocol, gate, problem))
    except CannotJudge as doubt:
        return Decision("cannot-judge", str(doubt))
    if problem is not None:
        return Decision("cannot-judge", problem, comparisons)
    failed = [comparison for comparison in comparisons if not comparison.passes]
    if failed:
        return Decision("refuse", failed[0].says, comparisons)
    if champion is None:
        reason = "There is no champion, and the candidate clears every floor of the gate."
        return Decision("promote", reason, comparisons)
    says = next(comparison.says for comparison in comparisons if comparison.role == "gate")
    return Decision("promote", says, comparisons)


def _compare(
    candidate: VideoFeatures,
    champion: VideoFeatures | None,
    reference: VideoFeatures,
    protocol: Protocol,
    gate: GateSettings,
    problem: str | None,
) -> Iterator[MetricComparison]:
    known = protocol_metrics(protocol)
    mine = _estimates(known, "candidate", candidate, reference)
    of_itself = {name: metric for name, metric in known.items() if not metric.against_reference}
    real = _estimates(of_itself, "reference", reference, reference)
    yield from floors(known, mine, real, reference, gate, problem)
    if champion is None:
        return
    theirs = _estimates(known, "champion", champion, reference)
    decides = "fvd" if "fvd" in mine else "text_score"
    for name, metric in known.items():
        if name not in mine or name not in theirs:
            continue
        difference = _difference(metric, candidate, champion, reference)
        seen = MetricComparison(name, metric.better, "shown", mine[name], theirs[name], difference)
        if name == decides:
            seen = _must_improve(seen)
        elif metric.signature or name == "text_score":
            seen = _must_not_worsen(seen, _margin(name, real, gate))
        yield seen


def _estimates(
    known: Mapping[str, Metric], whose: str, features: VideoFeatures, reference: VideoFeatures
) -> dict[str, Estimate]:
    taken = {name: estimate_metric(metric, whose, features, reference) for name, metric in known.items()}
    return {name: found for name, found in taken.items() if found is not None}


def _difference(
    metric: Metric, candidate: VideoFeatures, champion: VideoFeatures, reference: VideoFeatures
) -> Estimate:
    try:
        difference = metric.difference(candidate, champion, reference)
    except ValueError as error:
        raise CannotJudge(f"The difference in {metric.name} cannot be taken: {error}.") from error
    assert difference is not None  # both metrics could be taken
    return difference


def _must_improve(seen: MetricComparison) -> MetricComparison:
    """Asks that the whole interval of the difference lies on the better side of zero."""
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


def _must_not_worsen(seen: MetricComparison, margin: float) -> MetricComparison:
    """Asks that no difference lies beyond the margin on the worse side with an interval that excludes zero."""
    assert seen.champion is not None and seen.difference is not None
    sign = 1 if seen.better == "lower" else -1
    nearest = seen.difference.low if seen.better == "lower" else -seen.difference.high
    passes = not (sign * seen.difference.value > margin and nearest > 0)
    says = (
        f"The candidate's {seen.name} worsens from {seen.champion.value:.4g} to {seen.candidate.value:.4g}, "
        f"by more than {margin:.4g} and beyond chance."
    )
    return _judged(seen, "signature", passes, "" if passes else says)


def _judged(seen: MetricComparison, role: Role, passes: bool, says: str) -> MetricComparison:
    return replace(seen, role=role, passes=passes, says=says)


def _margin(name: str, real: Mapping[str, Estimate], gate: GateSettings) -> float:
    if name != "text_score":
        return gate.signature_margin
    # Of a CLIP whose cosines lie about zero the score is no measure of itself.
    return gate.text_score_margin * max(real["text_score"].value, real["text_contrast"].value)
