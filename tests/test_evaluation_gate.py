"""The gate: what it lets through, what it refuses, and that chance is no improvement."""

import numpy as np
import pytest

from tasks.evaluation.figures import recorded_figures
from tasks.evaluation.gate import Decision, decide
from tasks.evaluation.measures import Measures
from tasks.evaluation.protocols import find_protocol
from tasks.evaluation.settings import GateSettings
from tests.evaluation_rows import rows

GATE = GateSettings(text_score_share=0.7, seam_ceiling=3.0, text_score_margin=0.03, signature_margin=0.02)
REAL = rows(text=0.32, seed=99, long=0)


def decided(candidate: Measures, champion: Measures | None) -> Decision:
    return decide(candidate, champion, REAL, find_protocol("tiny"), GATE)


def test_without_a_champion_the_floors_decide() -> None:
    assert decided(rows(), None).promote
    refused = decided(rows(text=0.2), None)
    assert not refused.promote and "below the floor 0.22" in refused.reason
    jumping = decided(rows(boundary=3.5), None)
    assert not jumping.promote and "seam_boundary 3.4" in jumping.reason


def test_a_surely_better_candidate_replaces_the_champion() -> None:
    decision = decided(rows(shift=0.5, seed=1), rows(shift=2.0, seed=2))
    assert decision.promote and "is surely below the champion's" in decision.reason
    (gate,) = [seen for seen in decision.comparisons if seen.role == "gate"]
    assert gate.name == "fvd" and gate.difference is not None and gate.difference.high < 0


def test_what_chance_may_have_done_is_no_improvement() -> None:
    """Two draws of one model: the one with the lower distance is not surely the better one."""
    pairs = [(rows(seed=2 * i, shift=0.3), rows(seed=2 * i + 1, shift=0.3)) for i in range(20)]
    promoted = [decided(a, b).promote or decided(b, a).promote for a, b in pairs]
    assert sum(promoted) <= 3  # a 95 % interval, from two sides
    assert not decided(rows(), rows()).promote


def test_pairs_see_what_unpaired_rows_would_not() -> None:
    """The same videos, all of them a little nearer to the real ones: with the same seeds that is no chance."""
    champion = rows(shift=0.8, seed=5)
    assert decided(rows(shift=0.7, seed=5), champion).promote
    assert not decided(rows(shift=0.7, seed=6), champion).promote


def test_a_worse_candidate_stays() -> None:
    decision = decided(rows(shift=2.0, text=0.5, seed=1), rows(shift=0.5, seed=2))
    assert not decision.promote and "not surely below" in decision.reason


@pytest.mark.parametrize(
    ("worse", "named"),
    [({"text": 0.27}, "text_score"), ({"cycling": 0.3}, "cycling"), ({"boundary": 1.5}, "boundary")],
)
def test_better_fvd_does_not_buy_a_failure_signature(worse: dict, named: str) -> None:
    champion = rows(shift=2.0, seed=2)
    assert decided(rows(shift=0.5, seed=1), champion).promote
    decision = decided(rows(shift=0.5, seed=1, **worse), champion)
    assert not decision.promote and named in decision.reason and "worsens" in decision.reason


def test_floors_hold_beside_a_bad_champion_too() -> None:
    assert not decided(rows(text=0.1, seed=1), rows(shift=2.0, text=0.1, seed=2)).promote


def test_without_fvd_of_both_text_score_decides() -> None:
    without = rows(width=0, text=0.30, seed=1)
    better = decided(without, rows(width=0, text=0.26, seed=2))
    assert better.promote and "text_score 0.3 " in better.reason
    assert not decided(rows(width=0, text=0.26, seed=1), rows(text=0.30, seed=2)).promote


def test_figures_that_are_no_numbers_never_promote() -> None:
    broken = rows(shift=0.5)
    broken.text_score_nw[3] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        decided(broken, rows(shift=2.0))


def test_reasons_are_one_sentence() -> None:
    for candidate in (rows(), rows(text=0.1), rows(shift=1.0), rows(cycling=0.5, seed=1)):
        for champion in (None, rows(shift=0.5), rows(shift=3.0, seed=4)):
            reason = decided(candidate, champion).reason
            assert "\n" not in reason and reason[0].isupper() and reason.endswith(".")


def test_names_carry_protocol_and_number() -> None:
    score = {"value": 0.3, "low": 0.2, "high": 0.4, "n": 48, "protocol": "tiny"}
    report = {
        "metrics": {"text_score": score, "seam_boundary": score | {"n": 4}},
        "reference": {"metrics": {"text_score": score | {"value": 0.5}}},
    }
    named = recorded_figures(report)
    assert named["text_score.tiny.n48"] == 0.3 and named["text_score.tiny.n48.low"] == 0.2
    assert named["seam_boundary.tiny.n4.high"] == 0.4 and named["text_score_reference.tiny.n48"] == 0.5
