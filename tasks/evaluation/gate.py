"""The gate: whether a candidate is good enough, and surely better, to replace the champion.

Both were measured on the same prompts, seeds and real clips, so their rows are pairs and the interval of their
difference is that of the pairs. What an interval cannot tell from chance is no improvement. Where the yardstick itself
fails there is no verdict on the candidate, and the champion stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from tasks.evaluation.features import Measures
from tasks.evaluation.floors import floors
from tasks.evaluation.judgeable import by_name, check_rows, estimate, why_blind
from tasks.evaluation.metrics import Figure
from tasks.evaluation.protocols import Protocol
from tasks.evaluation.settings import GateSettings
from tasks.evaluation.verdict import CannotJudge, Comparison, Decision, Role
from vidrd_model.metrics.intervals import Estimate


def decide(
    candidate: Measures,
    champion: Measures | None,
    reference: Measures,
    protocol: Protocol,
    gate: GateSettings,
) -> Decision:
    """Whether the candidate becomes champion; `champion` is None when there is none.

    Every candidate must clear the floors. Beside a champion, the interval of the difference in FVD (in text score,
    where there is no I3D) must exclude that nothing has improved, and no failure signature may worsen. The verdict is
    `cannot-judge` where the rows allow none, and where CLIP does not tell right captions of the real clips from wrong
    ones: to a judge that does not know what it sees, junk looks like anything else.
    """
    try:
        check_rows(candidate, champion, reference, gate)
        blind = why_blind(protocol, candidate, reference)
        comparisons = list(_compare(candidate, champion, reference, protocol, gate, blind))
    except CannotJudge as doubt:
        return Decision("cannot-judge", str(doubt))
    if blind is not None:
        return Decision("cannot-judge", blind, comparisons)
    failed = [comparison for comparison in comparisons if not comparison.passes]
    if failed:
        return Decision("refuse", failed[0].says, comparisons)
    if champion is None:
        reason = "There is no champion, and the candidate clears every floor of the gate."
        return Decision("promote", reason, comparisons)
    says = next(comparison.says for comparison in comparisons if comparison.role == "gate")
    return Decision("promote", says, comparisons)


def _compare(
    candidate: Measures,
    champion: Measures | None,
    reference: Measures,
    protocol: Protocol,
    gate: GateSettings,
    blind: str | None,
) -> Iterator[Comparison]:
    known = by_name(protocol)
    mine = _estimates(known, "candidate", candidate, reference)
    of_itself = {name: figure for name, figure in known.items() if not figure.against_reference}
    real = _estimates(of_itself, "reference", reference, reference)
    yield from floors(known, mine, real, reference, gate, blind)
    if champion is None:
        return
    theirs = _estimates(known, "champion", champion, reference)
    decides = "fvd" if "fvd" in mine else "text_score"
    for name, figure in known.items():
        if name not in mine or name not in theirs:
            continue
        difference = _difference(figure, candidate, champion, reference)
        seen = Comparison(name, figure.better, "shown", mine[name], theirs[name], difference)
        if name == decides:
            seen = _must_improve(seen)
        elif figure.signature or name == "text_score":
            seen = _must_not_worsen(seen, _margin(name, real, gate))
        yield seen


def _estimates(
    known: Mapping[str, Figure], whose: str, measures: Measures, reference: Measures
) -> dict[str, Estimate]:
    taken = {name: estimate(figure, whose, measures, reference) for name, figure in known.items()}
    return {name: found for name, found in taken.items() if found is not None}


def _difference(figure: Figure, candidate: Measures, champion: Measures, reference: Measures) -> Estimate:
    try:
        difference = figure.difference(candidate, champion, reference)
    except ValueError as error:
        raise CannotJudge(f"The difference in {figure.name} cannot be taken: {error}.") from error
    assert difference is not None  # both figures could be taken
    return difference


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


def _judged(seen: Comparison, role: Role, passes: bool, says: str) -> Comparison:
    return replace(seen, role=role, passes=passes, says=says)


def _margin(name: str, real: Mapping[str, Estimate], gate: GateSettings) -> float:
    if name != "text_score":
        return gate.signature_margin
    # Of a CLIP whose cosines lie about zero the score is no measure of itself.
    return gate.text_score_margin * max(
        real[of].value for of in ("text_score", "text_contrast") if of in real
    )
