"""Thresholds belong to a dataset: what was set stays set, comes whole or not at all, and never takes the last clip."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.build_dataset.request import BuildDatasetParams, read_request
from flows.dataset.info import dataset_info
from storage.dataset.builds import finished_builds
from storage.dataset.clip_dataset import ClipDataset
from storage.dataset.compaction import compact
from storage.dataset.removal import remove
from storage.dataset.removed import Removal, record_removal
from tasks.errors import RequestError
from tasks.ingest.thresholds import SET_HERE, Asked
from tests.build_world import build, refilter, scored_dataset
from tests.dataset_rows import clip_ids

PROJECT = Path(__file__).parents[1]
SCORES = {"low": 0.3, "lower": 0.1, "high": 0.7, "higher": 0.9}
USUAL = 0.6  # of the profile tiny


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny_profile) -> Path:
    return scored_dataset(tmp_path_factory.mktemp("thresholds") / "made", tiny_profile, SCORES)


@pytest.fixture
def dataset(made, tmp_path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "dataset"))


@pytest.fixture(scope="module")
def corpora(tmp_path_factory) -> Path:
    """A corpus whose one file is no source of the dataset; trying only the quarantine again, nothing is done."""
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "text.png").write_text("This is no image.")
    (folder / "text.txt").write_text("a red circle")
    table = ["[[corpus]]", 'name = "walks"', 'kind = "images"', 'format = "folder"', 'path = "."']
    (folder / "corpora.toml").write_text("\n".join([*table, 'licence = "CC0-1.0"']))
    return folder / "corpora.toml"


def kept(scores: dict[str, float], threshold: float) -> list[str]:
    return sorted(f"{source}-0" for source, score in scores.items() if score >= threshold)


def thresholds_of(dataset: Path | str) -> dict[str, Any]:
    return dataset_info(ClipDataset.open(dataset))["thresholds"]


def told(dataset: Path | str) -> dict[str, Any]:
    return thresholds_of(dataset)["clip_threshold"]


def test_what_refilter_set_outlives_every_other_command(dataset, corpora, tiny_profile):
    recipe = tiny_profile.recipe()
    refilter(dataset, recipe, asked=Asked({"clip_threshold": 0.2}), profile="tiny")
    assert clip_ids(dataset) == kept(SCORES, 0.2) != kept(SCORES, USUAL)
    assert told(dataset) == {"value": 0.2, "from": SET_HERE}
    assert told(f"{dataset}@build-0002") == told(dataset)
    for again in range(2):
        summary = build(corpora, dataset, recipe, profile="tiny", retry_quarantine=True)
        assert clip_ids(dataset) == kept(SCORES, 0.2), again
        assert (summary.filter["clip_threshold"], summary.thresholds_set) == (0.2, {"clip_threshold": 0.2})
    assert refilter(dataset, recipe, profile="tiny").moved == 0
    compact(dataset)
    remove(dataset, sources=["higher"])
    assert told(dataset) == {"value": 0.2, "from": SET_HERE}
    # Neither the newest build, a takedown, nor the one before it says what the profile or the corpora were.
    BuildDatasetParams(dataset=dataset)
    read_request(BuildDatasetParams(action="retry-quarantine", dataset=dataset))
    build(corpora, dataset, recipe, profile="tiny", retry_quarantine=True)
    assert clip_ids(dataset) == ["high-0", "low-0"]
    refilter(dataset, recipe, asked=Asked(reset=True), profile="tiny")
    assert clip_ids(dataset) == ["high-0"] and told(dataset) == {"value": USUAL, "from": "profile tiny"}


def test_settings_add_up_and_those_asked_for_come_first(dataset, tiny_profile):
    recipe = tiny_profile.recipe()
    refilter(dataset, recipe, asked=Asked({"min_brightness": 10.0}), profile="tiny")
    tag = ClipDataset.open(dataset).tag
    refilter(dataset, recipe, asked=Asked({"clip_threshold": 0.65}), profile="tiny")
    # Not a row has moved, so it is the same build, and yet both are set.
    assert ClipDataset.open(dataset).tag == tag == "build-0001"
    now = {name: one["from"] for name, one in thresholds_of(dataset).items()}
    assert now["min_brightness"] == now["clip_threshold"] == SET_HERE and now["duplicates"] == "profile tiny"
    summary = refilter(dataset, recipe, asked=Asked({"min_brightness": None}, reset=True), profile="tiny")
    assert summary.thresholds_set == {"min_brightness": None} and told(dataset)["value"] == USUAL
    with pytest.raises(RequestError, match=r"^filter: .*max_motion.*set on this dataset before.*--reset"):
        refilter(dataset, recipe, asked=Asked({"min_motion": 5, "max_motion": 4}))
    with pytest.raises(RequestError, match=r"^filter: min_aesthetic: .*finite"):
        refilter(dataset, recipe, asked=Asked({"min_aesthetic": float("nan")}))
    assert finished_builds(dataset)[-1].summary["thresholds_set"] == {"min_brightness": None}


# What a command may do to thresholds, as a user gives one after the other.
STEPS = st.lists(
    st.tuples(
        st.sampled_from([None, 0.05, 0.2, 0.5, 0.65, 0.8, 0.95]), st.booleans(), st.booleans(), st.booleans()
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=15, deadline=None)
@given(steps=STEPS)
def test_any_sequence_of_commands_is_what_the_last_of_them_said(
    steps, made, corpora, tiny_profile, tmp_path_factory
):
    dataset = Path(shutil.copytree(made, tmp_path_factory.mktemp("sequence") / "d"))
    recipe, threshold, is_set = tiny_profile.recipe(), USUAL, False
    for value, reset, rebuilds, allow_empty in steps:
        before, tag = clip_ids(dataset), ClipDataset.open(dataset).tag
        asked = Asked({} if value is None else {"clip_threshold": value}, reset)
        wanted = value if value is not None else USUAL if reset else threshold

        def run(asked=asked, rebuilds=rebuilds, allow_empty=allow_empty):
            options: dict[str, Any] = {"asked": asked, "allow_empty": allow_empty, "profile": "tiny"}
            if rebuilds:
                return build(corpora, dataset, recipe, retry_quarantine=True, **options)
            return refilter(dataset, recipe, **options)

        if before and not kept(SCORES, wanted) and not allow_empty:
            with pytest.raises(RequestError, match=rf"none of its {len(before)} clips would be left"):
                run()
            assert (clip_ids(dataset), ClipDataset.open(dataset).tag) == (before, tag)
        else:
            run()
            threshold, is_set = wanted, value is not None or (is_set and not reset)
        assert clip_ids(dataset) == kept(SCORES, threshold)
        if finished_builds(dataset)[-1].summary:
            assert told(dataset) == {"value": threshold, "from": SET_HERE if is_set else "profile tiny"}


# A refilter, or a build, of another process that dies at its n-th step that writes.
SCRIPT = """
import os, signal, sys
project, dataset, corpora, fatal, command = sys.argv[1:]
sys.path.insert(0, project)
from pathlib import Path
import storage.dataset.builds, storage.dataset.tags, storage.local.json_files, storage.dataset.writer
from flows.profile import load_profile
from tests.build_world import build, refilter
from tasks.ingest.thresholds import Asked

calls = 0
def before_call(function):
    def call(*args, **kwargs):
        global calls
        calls += 1
        if calls == int(fatal):
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)
    return call

storage.dataset.writer.commit_rows = before_call(storage.dataset.writer.commit_rows)
storage.dataset.tags.set_tag = before_call(storage.dataset.tags.set_tag)
storage.dataset.builds.write_json = before_call(storage.dataset.builds.write_json)
storage.local.json_files.os.fsync = before_call(os.fsync)
recipe, asked = load_profile("tiny").recipe(), Asked({"clip_threshold": 0.2})
if command == "refilter":
    refilter(Path(dataset), recipe, asked=asked, profile="tiny")
else:
    build(Path(corpora), Path(dataset), recipe, asked=asked, retry_quarantine=True, profile="tiny")
"""


def dies(command: str, dataset: Path, corpora: Path, fatal: int) -> bool:
    """Whether the command came to its n-th step that writes, and so was killed before it."""
    arguments = [str(PROJECT), str(dataset), str(corpora), str(fatal), command]
    done = subprocess.run([sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "fatal", [1, pytest.param(3, marks=SLOW), pytest.param(5, marks=SLOW), pytest.param(8, marks=SLOW), 9]
)
def test_a_kill_sets_nothing_and_the_same_command_again_sets_it(
    dataset, corpora, tiny_profile, tmp_path, fatal
):
    """Steps 1 to 3 move rows, 4 to 7 tag the tables, the index comes last and is renamed after step 9."""
    recipe = tiny_profile.recipe()
    refilter(dataset, recipe, asked=Asked({"clip_threshold": 0.8}), profile="tiny")
    before = (ClipDataset.open(dataset).tag, clip_ids(dataset), told(dataset))
    assert dies("refilter" if fatal % 2 else "build", dataset, corpora, fatal)
    assert (ClipDataset.open(dataset).tag, clip_ids(dataset), told(dataset)) == before
    other = Path(shutil.copytree(dataset, tmp_path / "other"))
    build(corpora, other, recipe, profile="tiny", retry_quarantine=True)
    assert clip_ids(other) == kept(SCORES, 0.8) and told(other) == {"value": 0.8, "from": SET_HERE}
    assert not dies("refilter", dataset, corpora, 100)
    assert clip_ids(dataset) == kept(SCORES, 0.2) and told(dataset) == {"value": 0.2, "from": SET_HERE}


def test_the_command_writes_in_as_many_steps_as_were_killed(dataset, corpora):
    assert not dies("refilter", dataset, corpora, 10)


def test_a_dataset_of_an_earlier_version_keeps_what_had_been_set(tmp_path, corpora, tiny_profile):
    """Its builds noted all thresholds, and not which of them were the profile's."""
    noted = tiny_profile.filter.model_dump() | {"clip_threshold": 0.2}
    dataset = scored_dataset(tmp_path / "d", tiny_profile, SCORES, profile="tiny", filter=noted)
    assert told(dataset) == {"value": 0.2, "from": SET_HERE}
    build(corpora, dataset, tiny_profile.recipe(), profile="tiny", retry_quarantine=True)
    assert clip_ids(dataset) == kept(SCORES, 0.2) and told(dataset)["from"] == SET_HERE
    usual = scored_dataset(
        tmp_path / "u", tiny_profile, SCORES, profile="tiny", filter=tiny_profile.filter.model_dump()
    )
    assert told(usual) == {"value": USUAL, "from": "profile tiny"}
    elsewhere = scored_dataset(tmp_path / "e", tiny_profile, SCORES, profile="gone", filter=noted)
    assert told(elsewhere) == {"value": 0.2, "from": "noted by build-0001"}


def test_what_was_set_while_a_build_waited_is_what_it_goes_by(dataset, corpora, tiny_profile):
    """It was checked before the other command came; what counts is asked once the dataset is its own."""
    params = BuildDatasetParams(dataset=dataset, corpora=corpora, profile="tiny")
    read_request(params)
    refilter(dataset, tiny_profile.recipe(), asked=Asked({"clip_threshold": 0.2}), profile="tiny")
    build(corpora, dataset, tiny_profile.recipe(), profile="tiny", retry_quarantine=True)
    assert clip_ids(dataset) == kept(SCORES, 0.2)


def test_the_last_clip_goes_only_where_that_is_asked_for(dataset, corpora, tiny_profile):
    recipe, tag = tiny_profile.recipe(), ClipDataset.open(dataset).tag
    too_high = Asked({"clip_threshold": 0.95})
    with pytest.raises(RequestError) as refused:
        refilter(dataset, recipe, asked=too_high, profile="tiny")
    line = str(refused.value)
    assert "none of its 2 clips would be left" in line and "\n" not in line
    assert f"best 0.90, clip_threshold 0.95, {SET_HERE}" in line and "--allow-empty" in line
    assert ClipDataset.open(dataset).tag == tag and clip_ids(dataset) == kept(SCORES, USUAL)
    refilter(dataset, recipe, asked=too_high, profile="tiny", allow_empty=True)
    assert clip_ids(dataset) == []
    # Where there is no clip none can be lost.
    build(corpora, dataset, recipe, profile="tiny", retry_quarantine=True)
    assert clip_ids(dataset) == []


def test_takedowns_may_take_the_last_clip(dataset, corpora, tiny_profile):
    remove(dataset, corpora=["walks"])
    assert clip_ids(dataset) == []
    assert build(corpora, dataset, tiny_profile.recipe(), retry_quarantine=True).dataset_clips == 0


def test_a_takedown_that_was_cut_off_is_no_loss_of_the_build_that_finishes_it(dataset, corpora, tiny_profile):
    record_removal(dataset, Removal(corpora=("walks",)))
    assert build(corpora, dataset, tiny_profile.recipe(), retry_quarantine=True).dataset_clips == 0


def test_a_corpus_that_is_not_mounted_does_not_prune_a_dataset_empty(dataset, corpora, tiny_profile, workers):
    before, tag = clip_ids(dataset), ClipDataset.open(dataset).tag
    with pytest.raises(RequestError, match="4 sources are no longer in the corpora"):
        build(corpora, dataset, tiny_profile.recipe(), prune=True, workers=workers)
    assert (clip_ids(dataset), ClipDataset.open(dataset).tag) == (before, tag)
    summary = build(corpora, dataset, tiny_profile.recipe(), prune=True, allow_empty=True, workers=workers)
    assert (summary.pruned, summary.dataset_clips, summary.dataset_rejected) == (4, 0, 0)


def test_info_and_the_refusal_as_a_user_sees_them(dataset, tmp_path):
    def vidrd(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"VIDRD_HOME": str(tmp_path / "home")}
        return subprocess.run(
            [sys.executable, "-m", "flows.cli", *arguments], env=environment, capture_output=True, text=True
        )

    info = vidrd("dataset", "info", str(dataset), "--json")
    assert json.loads(info.stdout)["result"]["thresholds"] == {}, "its build noted none"
    wrong = vidrd("dataset", "refilter", str(dataset), "--set", "min_motion=9", "--set", "max_motion=8")
    assert wrong.returncode == 2 and wrong.stderr == "error: filter: min_motion must not exceed max_motion\n"
