"""Attacks the proposal: it says what the gate would decide, beside the champion, and promotes nothing."""

import pytest

from flows.promote import PromoteParams, promote
from flows.proposal import as_markdown, verdict
from storage.registry import CHAMPION, Registry


def test_a_better_candidate_is_proposed_with_the_command(add_candidate):
    champion, better = add_candidate(0.28, fvd=100), add_candidate(0.29, fvd=50)
    registry = Registry()
    registry.set_alias(CHAMPION, champion)
    proposal = verdict(registry, better, champion, "tiny")
    assert (
        proposal.promote
        and proposal.command == f"vidrd promote --model models:/vidrd/{better} --profile tiny"
    )
    shown = as_markdown(better, proposal)
    assert proposal.command in shown and "| fvd.tiny.n8 | 100 | 50 |" in shown and proposal.reason in shown
    assert registry.alias_version(CHAMPION) == champion


def test_a_worse_candidate_is_not_proposed_and_no_command_is_given(add_candidate):
    champion, worse = add_candidate(0.29, fvd=100), add_candidate(0.29, fvd=150)
    proposal = verdict(Registry(), worse, champion, "tiny")
    assert not proposal.promote and "fvd" in proposal.reason
    assert "vidrd promote" not in as_markdown(worse, proposal)


def test_the_first_candidate_stands_alone(add_candidate):
    first = add_candidate(0.29)
    proposal = verdict(Registry(), first, None, "tiny")
    assert proposal.promote and "champion (none)" in as_markdown(first, proposal)


def test_a_champion_of_another_profile_is_no_measure(add_candidate):
    champion, candidate = add_candidate(0.1, profile="sd21"), add_candidate(0.29)
    proposal = verdict(Registry(), candidate, champion, "tiny")
    assert not proposal.promote and "another profile" in proposal.reason


@pytest.mark.parametrize("better", [True, False])
def test_the_gate_decides_the_same_when_asked_to_promote(
    add_candidate, tiny_profile, prefect_session, better
):
    champion = add_candidate(0.29, fvd=100)
    promote(PromoteParams())
    candidate = add_candidate(0.29, fvd=50 if better else 150)
    proposal = verdict(Registry(), candidate, champion, "tiny")
    result = promote(PromoteParams(model=f"models:/vidrd/{candidate}"))
    assert (proposal.promote, proposal.reason) == (result["promoted"], result["reason"])
    assert proposal.promote is better
