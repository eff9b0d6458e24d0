"""Attacks the proposal: it says what the gate would decide, beside the champion, and promotes nothing."""

import pytest

from flows.promote.request import PromoteParams, read_request
from flows.promote.run import run
from flows.promote.verdict import verdict
from flows.retrain.proposal import as_markdown
from storage.registry.names import CHAMPION
from storage.registry.registry import Registry
from tasks.errors import RequestError


def test_a_better_candidate_is_proposed_with_the_command(add_candidate, tiny_profile):
    champion, better = add_candidate(0.6), add_candidate(0.95, seed=1)
    registry = Registry()
    registry.set_alias(CHAMPION, champion)
    decision = verdict(registry, better, champion, tiny_profile.evaluation.gate)
    shown = as_markdown(better, champion, decision, "vidrd promote --model models:/vidrd/2")
    assert decision.promote and "**promote**" in shown and decision.reason in shown
    assert "vidrd promote --model models:/vidrd/2" in shown and "| fvd | gate |" in shown
    assert registry.alias_version(CHAMPION) == champion


def test_a_worse_candidate_is_not_proposed_and_no_command_is_given(add_candidate, tiny_profile):
    champion, worse = add_candidate(0.9), add_candidate(0.6, seed=1)
    decision = verdict(Registry(), worse, champion, tiny_profile.evaluation.gate)
    assert not decision.promote and "fvd" in decision.reason
    assert "vidrd promote" not in as_markdown(worse, champion, decision, "vidrd promote")


def test_the_first_candidate_stands_alone(add_candidate, tiny_profile):
    first = add_candidate(0.9)
    decision = verdict(Registry(), first, None, tiny_profile.evaluation.gate)
    assert decision.promote and "champion (none)" in as_markdown(first, None, decision, "")


def test_a_champion_measured_otherwise_is_no_measure(add_candidate, tiny_profile):
    champion, candidate = add_candidate(0.1, setup="another"), add_candidate(0.9)
    with pytest.raises(RequestError, match="was not evaluated as version"):
        verdict(Registry(), candidate, champion, tiny_profile.evaluation.gate)


@pytest.mark.parametrize("better", [True, False])
def test_the_gate_decides_the_same_when_asked_to_promote(add_candidate, tiny_profile, better):
    champion = add_candidate(0.7)
    run(read_request(PromoteParams()))
    candidate = add_candidate(0.95 if better else 0.5, seed=1)
    decision = verdict(Registry(), candidate, champion, tiny_profile.evaluation.gate)
    result = run(read_request(PromoteParams(model=f"models:/vidrd/{candidate}")))
    assert (decision.promote, decision.reason) == (result["promoted"], result["reason"])
    assert decision.promote is better
