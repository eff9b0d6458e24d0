"""A dataset goes on with the profile that it was built with, whatever that profile calls itself."""

from pathlib import Path

import pytest

from flows.build_dataset.request import BuildDatasetParams, read_request
from flows.build_dataset.run import run
from flows.dataset.info import dataset_info
from flows.dataset.request import PlanParams, planned_for
from flows.profile import PROFILES_DIR, load_profile
from storage.dataset.builds import finished_builds, write_index
from storage.dataset.clip_dataset import ClipDataset
from storage.errors import StorageError
from tasks.errors import RequestError
from tests.build_world import scored_dataset
from tests.dataset_rows import clip_ids


@pytest.fixture
def own_profile(tmp_path) -> Path:
    """A file that kept the name of the embedded profile from which it was copied; its threshold is lower."""
    text = (PROFILES_DIR / "tiny" / "profile.toml").read_text()
    text = text.replace('"./', f'"{PROFILES_DIR / "tiny"}/')
    path = tmp_path / "own" / "profile.toml"
    path.parent.mkdir()
    path.write_text(text.replace("clip_threshold = 0.6", "clip_threshold = 0.2"))
    return path


def test_a_file_named_as_an_embedded_profile_is_not_taken_for_it(
    own_profile, tmp_path, tmp_home, tiny_profile, monkeypatch
):
    dataset = scored_dataset(tmp_path / "d", tiny_profile, {"lower": 0.1, "low": 0.3, "high": 0.7})
    assert load_profile(str(own_profile)).name == "tiny"
    monkeypatch.chdir(own_profile.parent)
    run(read_request(BuildDatasetParams(action="refilter", dataset=dataset, profile="profile.toml")))
    monkeypatch.chdir(tmp_path)
    assert clip_ids(dataset) == ["high-0", "low-0"]
    again = run(read_request(BuildDatasetParams(action="refilter", dataset=dataset)))
    assert again["moved"] == 0 and clip_ids(dataset) == ["high-0", "low-0"]
    assert dataset_info(ClipDataset.open(dataset))["thresholds"]["clip_threshold"]["value"] == 0.2
    # The embedded profile where it is asked for, and from then on without a word.
    run(read_request(BuildDatasetParams(action="refilter", dataset=dataset, profile="tiny")))
    assert run(read_request(BuildDatasetParams(action="refilter", dataset=dataset)))["moved"] == 0
    assert clip_ids(dataset) == ["high-0"]


def test_a_file_that_is_gone_lives_on_in_what_the_dataset_noted(
    own_profile, tmp_path, tmp_home, tiny_profile
):
    dataset = scored_dataset(tmp_path / "d", tiny_profile, {"low": 0.3, "high": 0.7})
    run(read_request(BuildDatasetParams(action="refilter", dataset=dataset, profile=str(own_profile))))
    own_profile.unlink()
    request = read_request(BuildDatasetParams(action="refilter", dataset=dataset))
    assert request.profile.filter.clip_threshold == 0.2 and request.profile.name == "tiny"
    assert run(request)["moved"] == 0 and clip_ids(dataset) == ["high-0", "low-0"]
    own_profile.write_text("[filter")
    with pytest.raises(RequestError, match="not a TOML file"):
        read_request(BuildDatasetParams(action="refilter", dataset=dataset))


def test_what_was_set_over_a_profile_holds_until_one_is_named(tmp_path, tmp_home, tiny_profile):
    dataset = scored_dataset(tmp_path / "d", tiny_profile, {"low": 0.3, "high": 0.7})

    def built(**asked) -> dict:
        return run(read_request(BuildDatasetParams(action="refilter", dataset=dataset, **asked)))

    def samples_at() -> float:
        return read_request(BuildDatasetParams(action="refilter", dataset=dataset)).profile.sampling.fps

    built(set={"sampling.fps": "4", "filter.clip_threshold": "0.2"})
    assert samples_at() == 4.0 and clip_ids(dataset) == ["high-0", "low-0"]
    built(set={"sampling.alpha": 2})
    assert samples_at() == 4.0
    # Thresholds are set on the dataset, as with --clip-threshold, and stay whatever profile is named.
    built(profile="tiny")
    assert samples_at() == 8.0 and clip_ids(dataset) == ["high-0", "low-0"]
    with pytest.raises(RequestError, match=r"did you mean filter\.clip_threshold"):
        built(set={"filter.clip_treshold": 0.2})


def test_no_other_profile_takes_the_place_of_a_file_that_is_gone(
    own_profile, tmp_path, tmp_home, tiny_profile
):
    """Of a build that noted no content, as those of earlier versions."""
    dataset = scored_dataset(tmp_path / "d", tiny_profile, {"low": 0.3, "high": 0.7})
    run(read_request(BuildDatasetParams(action="refilter", dataset=dataset, profile=str(own_profile))))
    own_profile.unlink()
    builds = finished_builds(dataset)
    del builds[-1].summary["profile_content"]
    write_index(dataset, builds)
    before = finished_builds(dataset)
    with pytest.raises(RequestError) as refused:
        read_request(BuildDatasetParams(action="refilter", dataset=dataset))
    line = str(refused.value)
    assert str(own_profile) in line and str(dataset) in line and "--profile" in line and "\n" not in line
    assert finished_builds(dataset) == before and clip_ids(dataset) == ["high-0", "low-0"]
    # What does not need the profile's file still reads the dataset.
    assert dataset_info(ClipDataset.open(dataset))["clips"] == 2


def test_a_plan_of_a_dataset_is_about_its_corpora_and_its_profile(tmp_path, tmp_home, tiny_profile):
    dataset = scored_dataset(tmp_path / "d", tiny_profile, {"high": 0.7})
    builds = finished_builds(dataset)
    builds[-1].summary.update(corpora=str(tmp_path / "c.toml"), profile="tiny", profile_set={"clips.fps": 4})
    write_index(dataset, builds)
    corpora, profile = planned_for(PlanParams(dataset=dataset))
    assert corpora == tmp_path / "c.toml" and profile.clips.fps == 4
    corpora, profile = planned_for(PlanParams(dataset=dataset, corpora=tmp_path / "e.toml", profile="sd21"))
    assert corpora == tmp_path / "e.toml" and profile.name == "sd21"
    with pytest.raises(StorageError, match="is not a dataset"):
        planned_for(PlanParams(dataset=tmp_path))
