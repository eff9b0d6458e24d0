"""The gate: what it lets through, what it refuses, and that unlike figures are never compared."""

import math

import pytest

from tasks.evaluation.gate import decide, recorded_figures
from tasks.evaluation.settings import GateSettings

GATE = GateSettings(text_score_share=0.7, seam_ceiling=3.0, text_score_margin=0.03)


def figures(fvd: float | None = 100.0, text: float = 0.30, setup: str = "tiny.n48", **more: float) -> dict:
    """Recorded figures of one evaluation, the reference clips scoring 0.32."""
    named = {"text_score": text, "text_score_reference": 0.32, **more}
    if fvd is not None:
        named["fvd"] = fvd
    return {f"{name}.{setup}": value for name, value in named.items()}


def test_without_a_champion_the_floors_decide() -> None:
    assert decide(figures(), None, GATE).promote
    refused = decide(figures(text=0.22), None, GATE)
    assert not refused.promote and "below the floor 0.2240" in refused.reason
    jumping = decide(figures(seam_boundary=3.2), None, GATE)
    assert not jumping.promote and "seam_boundary 3.20" in jumping.reason


def test_a_better_candidate_replaces_the_champion() -> None:
    decision = decide(figures(fvd=90.0, text=0.295), figures(fvd=100.0), GATE)
    assert decision.promote and "90.00 is below the champion's 100.00" in decision.reason


def test_a_candidate_that_is_no_better_stays() -> None:
    assert not decide(figures(fvd=100.0), figures(fvd=100.0), GATE).promote
    assert not decide(figures(fvd=101.0, text=0.5), figures(fvd=100.0), GATE).promote


def test_better_fvd_does_not_buy_worse_text_agreement() -> None:
    decision = decide(figures(fvd=50.0, text=0.28), figures(fvd=100.0, text=0.30), GATE)
    assert not decision.promote and "text_score falls" in decision.reason


def test_floors_hold_beside_a_bad_champion_too() -> None:
    assert not decide(figures(fvd=90.0, text=0.1), figures(fvd=100.0, text=0.1), GATE).promote


def test_without_a_common_fvd_text_score_decides() -> None:
    assert decide(figures(fvd=None, text=0.31), figures(fvd=100.0), GATE).promote
    assert not decide(figures(fvd=10.0, text=0.30), figures(fvd=None), GATE).promote


def test_unlike_protocols_and_numbers_are_not_compared() -> None:
    for other in ("quick.n48", "tiny.n64"):
        decision = decide(figures(fvd=1.0, text=0.32), figures(setup=other), GATE)
        assert not decision.promote and "not evaluated alike" in decision.reason
    both = figures(fvd=90.0) | figures(fvd=80.0, setup="tiny.n128")
    assert "tiny.n128" in decide(both, both, GATE).reason  # of two common set-ups the larger


@pytest.mark.parametrize("champion", [None, figures()])
def test_figures_that_are_no_numbers_or_missing_never_promote(champion: dict | None) -> None:
    assert not decide({}, champion, GATE).promote
    assert not decide(figures(text=math.nan), champion, GATE).promote
    assert not decide(figures(seam_boundary=math.nan), champion, GATE).promote
    without_reference = figures()
    del without_reference["text_score_reference.tiny.n48"]
    assert not decide(without_reference, champion, GATE).promote
    assert not decide(figures(fvd=math.nan), figures(), GATE).promote


def test_reasons_are_one_sentence() -> None:
    for candidate in ({}, figures(), figures(text=0.1), figures(fvd=90.0)):
        for champion in (None, figures(), figures(setup="quick.n9")):
            reason = decide(candidate, champion, GATE).reason
            assert "\n" not in reason and reason[0].isupper() and reason.endswith(".")


def test_names_carry_protocol_and_number() -> None:
    score = {"value": 0.3, "n": 48, "protocol": "tiny"}
    report = {
        "metrics": {"text_score": score, "seam_boundary": {"value": 1.1, "n": 4, "protocol": "tiny"}},
        "reference": {"metrics": {"text_score": score | {"value": 0.4}}},
    }
    assert recorded_figures(report) == {
        "text_score.tiny.n48": 0.3,
        "seam_boundary.tiny.n4": 1.1,
        "text_score_reference.tiny.n48": 0.4,
    }
