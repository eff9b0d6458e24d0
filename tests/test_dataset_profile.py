"""A dataset goes on with the profile that it was built with, whatever that profile calls itself."""

from pathlib import Path

import pytest

from flows.build_dataset.request import BuildDatasetParams, read_request
from flows.build_dataset.run import run
from flows.dataset.info import dataset_info
from flows.profile import PROFILES_DIR, load_profile
from storage.dataset.builds import finished_builds
from storage.dataset.clip_dataset import ClipDataset
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


def test_no_other_profile_takes_the_place_of_a_file_that_is_gone(
    own_profile, tmp_path, tmp_home, tiny_profile
):
    dataset = scored_dataset(tmp_path / "d", tiny_profile, {"low": 0.3, "high": 0.7})
    run(read_request(BuildDatasetParams(action="refilter", dataset=dataset, profile=str(own_profile))))
    own_profile.unlink()
    before = finished_builds(dataset)
    with pytest.raises(RequestError) as refused:
        read_request(BuildDatasetParams(action="refilter", dataset=dataset))
    line = str(refused.value)
    assert str(own_profile) in line and str(dataset) in line and "--profile" in line and "\n" not in line
    assert finished_builds(dataset) == before and clip_ids(dataset) == ["high-0", "low-0"]
    # What does not need the profile's file still reads the dataset.
    assert dataset_info(ClipDataset.open(dataset))["clips"] == 2
