"""Attacks promotion: only a version that was evaluated like the champion, and surely beats it, takes its place."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.evaluate.request import EvaluateParams
from flows.evaluate.request import read_request as read_evaluation
from flows.generate.request import GenerateParams
from flows.generate.request import read_request as check_generate
from flows.profile import load_profile
from flows.profile_choice import PROFILE_TAG, note_of_profile
from flows.promote.flow import promote
from flows.promote.record import DECISION_FILE, DECISION_PAGE, decision_markdown
from flows.promote.request import PromoteParams, read_request
from flows.promote.run import run
from flows.promote.verdict import verdict
from storage.errors import StorageError
from storage.local.home import home
from storage.registry.evaluation_files import fetch_evaluation, keep_evaluation
from storage.registry.names import (
    CANDIDATE,
    CHAMPION,
    FEATURES_FILE,
    REFERENCE_FILE,
    champion_alias,
    version_ref,
)
from storage.registry.registry import Registry
from tasks.errors import RequestError
from tests.evaluation_rows import record_rows, rows
from tests.html_tables import Page


def promoted(**asked: Any) -> dict[str, Any]:
    """What a promotion does, without a run of Prefect."""
    return run(read_request(PromoteParams(**asked)))


def test_the_first_good_candidate_becomes_champion(add_candidate, tiny_profile, prefect_session):
    version = add_candidate(0.9)
    result = promote(PromoteParams())
    assert result["promoted"] and result["champion"] == version and result["champion_before"] is None
    assert Registry().alias_version(CHAMPION) == version
    assert Registry().version_tags(version)["promotion"] == "promoted"
    again = promote(PromoteParams())
    assert (again["promoted"], again["verdict"], again["champion"]) == (False, "unchanged", version)


def test_a_worse_candidate_is_refused_and_the_decision_kept(add_candidate, tiny_profile, tmp_path):
    champion = add_candidate(0.9)
    promoted()
    worse = add_candidate(0.6, seed=1)
    result = promoted()
    assert not result["promoted"] and result["champion"] == champion
    registry = Registry()
    assert registry.alias_version(CHAMPION) == champion
    tags = registry.version_tags(worse)
    assert tags["promotion"] == "refused" and tags["promotion.champion_before"] == str(champion)
    assert tags["promotion.reason"] == result["reason"] and "fvd" in result["reason"]
    kept = json.loads(fetch_evaluation(registry, worse, "s", DECISION_FILE, tmp_path).read_text())
    assert kept["verdict"] == "refuse" and kept["reason"] == result["reason"]
    assert kept["setup"]["gate.seam_ceiling"] == 3.0 and kept["setup"]["evaluation.protocol"] == "tiny"
    fvd = next(seen for seen in kept["comparisons"] if seen["role"] == "gate")
    assert fvd["name"] == "fvd" and not fvd["passes"] and fvd["difference"]["low"] > 0
    page = fetch_evaluation(registry, worse, "s", DECISION_PAGE, tmp_path).read_text()
    assert result["reason"].split(":")[0].replace("'", "&#39;") in page.replace("&#x27;", "&#39;")


def test_a_better_candidate_replaces_the_champion_and_can_be_rolled_back(add_candidate, tiny_profile):
    first = add_candidate(0.6)
    promoted()
    better = add_candidate(0.95, seed=1)
    assert promoted()["promoted"] and Registry().alias_version(CHAMPION) == better
    result = promoted(rollback=True)
    assert (result["verdict"], result["champion"]) == ("rolled-back", first)
    assert Registry().alias_version(CHAMPION) == first
    tags = Registry().version_tags(better)
    assert tags["promotion"] == "rolled back" and str(first) in tags["promotion.reason"]


def test_without_a_predecessor_there_is_nothing_to_roll_back(add_candidate, tiny_profile):
    with pytest.raises(RequestError, match="there is no champion"):
        read_request(PromoteParams(rollback=True))
    add_candidate(0.9)
    promoted()
    with pytest.raises(RequestError, match="is the first champion"):
        read_request(PromoteParams(rollback=True))


def test_a_candidate_that_moved_since_its_evaluation_is_not_promoted(add_candidate, tiny_profile):
    evaluated = add_candidate(0.9)
    newer = add_candidate(0.9, seed=1)
    with pytest.raises(
        RequestError, match=f"was version {evaluated} when it was evaluated and is now {newer}"
    ):
        read_request(PromoteParams(evaluated_version=evaluated))
    Registry().set_alias(CANDIDATE, evaluated)
    read_request(PromoteParams(evaluated_version=evaluated))


def test_a_candidate_far_below_the_reference_never_becomes_champion(add_candidate, tiny_profile):
    add_candidate(0.0)
    assert not promoted()["promoted"]
    assert Registry().alias_version(CHAMPION) is None


def test_where_clip_is_blind_the_champion_stays_and_the_run_completes(
    add_candidate, tiny_profile, prefect_session, tmp_path
):
    """Not an error: the run ends Completed, and every place that tells of the decision says that there is none."""
    registry = Registry()
    champion = add_candidate(0.9)
    promoted()
    junk = add_candidate(None)
    blind = rows(text=-0.013, wrong=-0.013, seed=99, long=0)
    record_rows(registry, junk, rows(shift=20.0, text=0.0, wrong=0.0, cycling=0.91), "s", blind)
    for asked_of, before in ((champion, champion), (None, None)):
        if before is None:
            for alias in (CHAMPION, champion_alias("tiny")):
                registry.client.delete_registered_model_alias("vidrd", alias)
        state = promote(PromoteParams(), return_state=True)
        assert state.is_completed()
        result = state.result()
        assert (result["verdict"], result["promoted"]) == ("cannot-judge", False), asked_of
        assert result["champion"] == before == registry.alias_version(CHAMPION)
        assert result["reason"].startswith("CLIP does not know what the reference clips show")
    tags = registry.version_tags(junk)
    assert (tags["promotion"], tags["promotion.reason"]) == ("cannot-judge", result["reason"])
    kept = json.loads(fetch_evaluation(registry, junk, "s", DECISION_FILE, tmp_path).read_text())
    assert kept["verdict"] == "cannot-judge" and kept["comparisons"]
    page = fetch_evaluation(registry, junk, "s", DECISION_PAGE, tmp_path).read_text()
    assert "<h1>Cannot be judged</h1>" in page and "real clips" in page
    decision = verdict(registry, junk, None, tiny_profile.evaluation.gate)
    assert "**stays candidate, not judged**" in decision_markdown(junk, None, decision)
    assert "**cannot be judged**" in decision_markdown(junk, None, decision, proposed=True)
    trends = Page(home() / "evaluation" / "trends.html")
    (row,) = [row for row in trends.table("What was decided") if row[1] == f"version {junk}"]
    assert row[2] == "cannot be judged"


@pytest.mark.parametrize("file", [FEATURES_FILE, REFERENCE_FILE])
@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 half of one"])
def test_damaged_rows_are_told_in_one_line_and_promote_nothing(
    add_candidate, tiny_profile, tmp_path, file, content
):
    registry = Registry()
    version = add_candidate(0.9)
    (tmp_path / file).write_bytes(content)
    keep_evaluation(registry, version, "s", [tmp_path / file])
    with pytest.raises(
        RequestError, match=f"model: version {version}: {file} is damaged; run vidrd evaluate"
    ) as caught:
        verdict(registry, version, None, tiny_profile.evaluation.gate)
    assert "\n" not in str(caught.value)


def test_rows_of_before_the_gate_asked_about_wrong_captions_are_read(add_candidate, tiny_profile, tmp_path):
    """An evaluation that was recorded before: beaten as a champion, asked for again as a candidate."""
    registry = Registry()
    old, new = add_candidate(0.6), add_candidate(0.95, seed=1)
    path = fetch_evaluation(registry, old, "s", FEATURES_FILE, tmp_path)
    with np.load(path) as arrays:
        columns = {name: arrays[name] for name in arrays.files if "clip_" not in name and name != "caption_n"}
    np.savez_compressed(path, **columns)
    keep_evaluation(registry, old, "s", [path])
    assert verdict(registry, new, old, tiny_profile.evaluation.gate).promote
    decision = verdict(registry, old, new, tiny_profile.evaluation.gate)
    assert (
        decision.verdict == "cannot-judge" and "run vidrd evaluate --beside-champion again" in decision.reason
    )


def test_without_an_evaluation_there_is_nothing_to_decide(add_candidate, tiny_profile):
    add_candidate(None)
    with pytest.raises(RequestError, match=r"run vidrd evaluate --model models:/vidrd/1$"):
        read_request(PromoteParams())


def test_unlike_evaluations_are_not_compared(add_candidate, tiny_profile):
    Registry().set_alias(CHAMPION, add_candidate(0.6))
    add_candidate(0.9, setup="another")
    with pytest.raises(RequestError, match="run vidrd evaluate --beside-champion") as caught:
        read_request(PromoteParams())
    assert "\n" not in str(caught.value)


def test_only_registered_versions_can_be_promoted(add_candidate, tiny_profile, tmp_path):
    with pytest.raises(StorageError, match="alias 'candidate'"):
        read_request(PromoteParams())
    with pytest.raises(RequestError, match="only registered versions"):
        read_request(PromoteParams(model=str(Path(tmp_path, "model"))))


def test_a_model_of_another_profile_is_not_taken_for_one_of_this(add_candidate, tiny_profile):
    """A champion of the small embedded model must not answer for the real one, nor the other way round."""
    version = add_candidate(0.9, profile="sd21")
    Registry().set_alias(CHAMPION, version)
    requests = (
        lambda: read_request(PromoteParams(profile="tiny")),
        lambda: check_generate(GenerateParams(prompt="a corgi", model="models:/vidrd/1", profile="tiny")),
        lambda: read_evaluation(EvaluateParams(model="models:/vidrd@candidate", profile="tiny")),
    )
    for request in requests:
        with pytest.raises(RequestError, match="is of the profile sd21, not tiny") as caught:
            request()
        assert "\n" not in str(caught.value)
    for asked in ({}, {"profile": "sd21"}):
        found = check_generate(GenerateParams(prompt="a corgi", **asked))
        assert found.model.version == version and found.sampling.settings.num_inference_steps == 50
    # Without a champion of its own a profile has its own model.
    assert check_generate(GenerateParams(prompt="a corgi", profile="tiny")).model.version is None


def test_profiles_have_champions_of_their_own(add_candidate, tiny_profile):
    registry = Registry()
    small = add_candidate(0.9)
    assert promoted()["champion_before"] is None
    real = add_candidate(0.7, seed=1, profile="sd21")
    first = promoted()
    assert first["promoted"] and first["champion_before"] is None, "judged by the floors, not beside tiny's"
    assert registry.champion() == real == registry.champion("sd21")
    assert registry.champion("tiny") == small == registry.alias_version("champion-tiny")
    better = add_candidate(0.95, seed=2, profile="sd21")
    assert promoted()["champion_before"] == real
    assert promoted(rollback=True)["champion"] == real and registry.champion("tiny") == small
    with pytest.raises(RequestError, match=f"version {small} is the first champion"):
        read_request(PromoteParams(rollback=True, profile="tiny"))
    assert registry.champion("sd21") == real != better


def test_the_champion_of_earlier_versions_is_that_of_its_profile(add_candidate, tiny_profile):
    version = add_candidate(0.9)
    Registry().set_alias(CHAMPION, version)
    assert (Registry().champion("tiny"), Registry().champion("sd21")) == (version, None)
    assert champion_alias("my profile/1") == "champion-my-profile-1"


def test_a_version_is_of_the_profile_that_it_noted(add_candidate, tiny_profile, tmp_path):
    """By its own settings, where its file is gone as well; a name alone, of earlier versions, is that of a profile."""
    path = tmp_path / "mine.toml"
    path.write_text('extends = "tiny"\n[sampling]\nfps = 4\n')
    mine = load_profile(str(path), {"sampling.alpha": 2})
    version = add_candidate(0.9, profile="mine")
    ref = version_ref(version)
    with pytest.raises(
        RequestError, match=f"'mine' is neither one of .*{ref} was made with it; name a profile"
    ):
        read_request(PromoteParams(model=ref))
    Registry().set_version_tags(version, {PROFILE_TAG: note_of_profile(mine)})
    for _ in range(2):
        found = read_request(PromoteParams(model=ref, set={"evaluation.gate.min_videos": 9})).profile
        assert (found.name, found.sampling.fps, found.sampling.alpha) == ("mine", 4.0, 2.0)
        assert found.evaluation.gate.min_videos == 9 and found.model == tiny_profile.model
        path.unlink(missing_ok=True)
    Registry().set_version_tags(version, {PROFILE_TAG: "{"})
    with pytest.raises(RequestError, match="is no note of a profile"):
        read_request(PromoteParams(model=ref))
