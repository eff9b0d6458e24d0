"""Attacks promotion: only a version that was evaluated like the champion, and beats it, takes its place."""

import pytest

from flows.evaluate import EvaluateParams
from flows.evaluate import check as check_evaluate
from flows.generate import GenerateParams
from flows.generate import check as check_generate
from flows.promote import PromoteParams, check, promote
from storage.errors import StorageError
from storage.registry import CHAMPION, Registry
from tasks.errors import RequestError


def test_the_first_good_candidate_becomes_champion(add_candidate, tiny_profile, prefect_session):
    version = add_candidate(0.29)
    result = promote(PromoteParams())
    assert result["promoted"] and result["champion"] == version and result["champion_before"] is None
    assert Registry().alias_version(CHAMPION) == version
    assert Registry().version_tags(version)["promotion"] == "promoted"
    again = promote(PromoteParams())
    assert again["promoted"] and again["champion"] == version


def test_a_worse_candidate_is_refused_and_the_reason_kept(add_candidate, tiny_profile, prefect_session):
    champion = add_candidate(0.29, fvd=100)
    promote(PromoteParams())
    worse = add_candidate(0.29, fvd=150)
    result = promote(PromoteParams())
    assert not result["promoted"] and result["champion"] == champion
    assert Registry().alias_version(CHAMPION) == champion
    tags = Registry().version_tags(worse)
    assert tags["promotion"] == "refused" and tags["promotion.champion_before"] == str(champion)
    assert tags["promotion.reason"] == result["reason"] and "fvd" in result["reason"]


def test_a_better_candidate_replaces_the_champion(add_candidate, tiny_profile, prefect_session):
    add_candidate(0.28, fvd=100)
    promote(PromoteParams())
    better = add_candidate(0.29, fvd=50)
    result = promote(PromoteParams())
    assert result["promoted"] and Registry().alias_version(CHAMPION) == better


def test_a_candidate_far_below_the_reference_never_becomes_champion(
    add_candidate, tiny_profile, prefect_session
):
    add_candidate(0.05)
    assert not promote(PromoteParams())["promoted"]
    assert Registry().alias_version(CHAMPION) is None


def test_without_an_evaluation_there_is_nothing_to_decide(add_candidate, tiny_profile):
    add_candidate(None)
    with pytest.raises(RequestError, match="run vidrd evaluate first"):
        check(PromoteParams())


@pytest.mark.parametrize("setup", [{"n": 16}, {"reference": "other"}])
def test_unlike_evaluations_are_not_compared(add_candidate, tiny_profile, setup):
    Registry().set_alias(CHAMPION, add_candidate(0.29))
    add_candidate(0.30, **setup)
    with pytest.raises(RequestError, match="run vidrd evaluate on both alike") as caught:
        check(PromoteParams())
    assert "\n" not in str(caught.value)


def test_only_registered_versions_can_be_promoted(add_candidate, tiny_profile, tmp_path):
    with pytest.raises(StorageError, match="alias 'candidate'"):
        check(PromoteParams())
    with pytest.raises(RequestError, match="only registered versions"):
        check(PromoteParams(model=str(tmp_path / "model")))


def test_a_model_of_another_profile_is_not_taken_for_one_of_this(add_candidate, tiny_profile):
    """A champion of the small embedded model must not answer for the real one, nor the other way round."""
    version = add_candidate(0.29, profile="sd21")
    Registry().set_alias(CHAMPION, version)
    requests = (
        lambda: check(PromoteParams()),
        lambda: check_generate(GenerateParams(prompt="a corgi")),
        lambda: check_evaluate(EvaluateParams(model="models:/vidrd@candidate")),
    )
    for request in requests:
        with pytest.raises(RequestError, match="is of the profile sd21, not tiny") as caught:
            request()
        assert "\n" not in str(caught.value)
    check_generate(GenerateParams(prompt="a corgi", profile="sd21"))
