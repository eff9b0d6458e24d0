"""Attacks promotion: only a version that was evaluated like the champion, and surely beats it, takes its place."""

import json
from pathlib import Path

import pytest

from flows.evaluate import check as check_evaluate
from flows.evaluate_request import EvaluateParams
from flows.generate import GenerateParams
from flows.generate import check as check_generate
from flows.promote import DECISION_FILE, DECISION_PAGE, PromoteParams, check, promote
from storage.errors import StorageError
from storage.evaluation_files import fetch_evaluation
from storage.registry import CANDIDATE, CHAMPION, Registry
from tasks.errors import RequestError


def test_the_first_good_candidate_becomes_champion(add_candidate, tiny_profile, prefect_session):
    version = add_candidate(0.9)
    result = promote(PromoteParams())
    assert result["promoted"] and result["champion"] == version and result["champion_before"] is None
    assert Registry().alias_version(CHAMPION) == version
    assert Registry().version_tags(version)["promotion"] == "promoted"
    again = promote(PromoteParams())
    assert (again["promoted"], again["verdict"], again["champion"]) == (False, "unchanged", version)


def test_a_worse_candidate_is_refused_and_the_decision_kept(
    add_candidate, tiny_profile, prefect_session, tmp_path
):
    champion = add_candidate(0.9)
    promote(PromoteParams())
    worse = add_candidate(0.6, seed=1)
    result = promote(PromoteParams())
    assert not result["promoted"] and result["champion"] == champion
    registry = Registry()
    assert registry.alias_version(CHAMPION) == champion
    tags = registry.version_tags(worse)
    assert tags["promotion"] == "refused" and tags["promotion.champion_before"] == str(champion)
    assert tags["promotion.reason"] == result["reason"] and "fvd" in result["reason"]
    kept = json.loads(fetch_evaluation(registry, worse, "s", DECISION_FILE, tmp_path).read_text())
    assert kept["verdict"] == "refuse" and kept["reason"] == result["reason"]
    assert kept["setup"]["gate.seam_ceiling"] == 3.0 and kept["setup"]["evaluation.protocol"] == "tiny"
    fvd = next(seen for seen in kept["comparisons"] if seen["name"] == "fvd")
    assert not fvd["passes"] and fvd["difference"]["low"] > 0
    page = fetch_evaluation(registry, worse, "s", DECISION_PAGE, tmp_path).read_text()
    assert result["reason"].split(":")[0].replace("'", "&#39;") in page.replace("&#x27;", "&#39;")


def test_a_better_candidate_replaces_the_champion_and_can_be_rolled_back(
    add_candidate, tiny_profile, prefect_session
):
    first = add_candidate(0.6)
    promote(PromoteParams())
    better = add_candidate(0.95, seed=1)
    assert promote(PromoteParams())["promoted"] and Registry().alias_version(CHAMPION) == better
    result = promote(PromoteParams(rollback=True))
    assert result["champion"] == first and Registry().alias_version(CHAMPION) == first
    tags = Registry().version_tags(better)
    assert tags["promotion"] == "rolled back" and str(first) in tags["promotion.reason"]


def test_without_a_predecessor_there_is_nothing_to_roll_back(add_candidate, tiny_profile, prefect_session):
    with pytest.raises(RequestError, match="there is no champion"):
        check(PromoteParams(rollback=True))
    add_candidate(0.9)
    promote(PromoteParams())
    with pytest.raises(RequestError, match="is the first champion"):
        check(PromoteParams(rollback=True))


def test_a_candidate_that_moved_since_its_evaluation_is_not_promoted(add_candidate, tiny_profile):
    evaluated = add_candidate(0.9)
    newer = add_candidate(0.9, seed=1)
    with pytest.raises(
        RequestError, match=f"was version {evaluated} when it was evaluated and is now {newer}"
    ):
        check(PromoteParams(evaluated_version=evaluated))
    Registry().set_alias(CANDIDATE, evaluated)
    check(PromoteParams(evaluated_version=evaluated))


def test_a_candidate_far_below_the_reference_never_becomes_champion(
    add_candidate, tiny_profile, prefect_session
):
    add_candidate(0.0)
    assert not promote(PromoteParams())["promoted"]
    assert Registry().alias_version(CHAMPION) is None


def test_without_an_evaluation_there_is_nothing_to_decide(add_candidate, tiny_profile):
    add_candidate(None)
    with pytest.raises(RequestError, match="run vidrd evaluate first"):
        check(PromoteParams())


def test_unlike_evaluations_are_not_compared(add_candidate, tiny_profile):
    Registry().set_alias(CHAMPION, add_candidate(0.6))
    add_candidate(0.9, setup="another")
    with pytest.raises(RequestError, match="run vidrd evaluate --beside-champion") as caught:
        check(PromoteParams())
    assert "\n" not in str(caught.value)


def test_only_registered_versions_can_be_promoted(add_candidate, tiny_profile, tmp_path):
    with pytest.raises(StorageError, match="alias 'candidate'"):
        check(PromoteParams())
    with pytest.raises(RequestError, match="only registered versions"):
        check(PromoteParams(model=str(Path(tmp_path, "model"))))


def test_a_model_of_another_profile_is_not_taken_for_one_of_this(add_candidate, tiny_profile):
    """A champion of the small embedded model must not answer for the real one, nor the other way round."""
    version = add_candidate(0.9, profile="sd21")
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
