"""`refilter --try` says what `refilter` then does, and writes nothing."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from flows.build_dataset.request import BuildDatasetParams
from flows.cli.app import app
from flows.dataset.trial import try_refilter
from storage.dataset.clip_dataset import ClipDataset
from tasks.errors import RequestError
from tasks.ingest.thresholds import Asked
from tests.build_world import all_rows, refilter, scored_dataset
from tests.earlier_version import unpack

SCORES = {"low": 0.3, "lower": 0.1, "high": 0.7, "higher": 0.9}


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny_profile) -> Path:
    return scored_dataset(tmp_path_factory.mktemp("trial") / "made", tiny_profile, SCORES, profile="tiny")


def files(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def tried(dataset: Path, **values: Any) -> dict[str, Any]:
    return try_refilter(BuildDatasetParams(action="refilter", dataset=dataset, profile="tiny", **values))


@settings(max_examples=20, deadline=None)
@given(
    threshold=st.sampled_from([0.05, 0.2, 0.5, 0.65, 0.8]),
    brightness=st.sampled_from([None, 50.0, 90.0]),
    duplicates=st.sampled_from(["off", "perceptual"]),
)
def test_what_it_says_is_what_refilter_does(
    made, tiny_profile, tmp_path_factory, threshold, brightness, duplicates
):
    dataset = Path(shutil.copytree(made, tmp_path_factory.mktemp("tried") / "d"))
    before, untouched = all_rows(dataset), files(dataset)
    values = {"clip_threshold": threshold, "min_brightness": brightness, "duplicates": duplicates}
    said = tried(dataset, filter=values)
    assert files(dataset) == untouched, "nothing is written, no lock taken"
    refilter(dataset, tiny_profile.recipe(), asked=Asked(values), profile="tiny", allow_empty=True)
    after = all_rows(dataset)
    kept = {name for name, row in after.items() if row["reason"] is None}
    was = {name for name, row in before.items() if row["reason"] is None}
    assert said["clips"] == {"now": len(was), "then": len(kept)}
    assert sum(said["leaving"].values()) == len(was - kept)
    assert sum(said["coming"].values()) == len(kept - was)
    reasons = [row["reason"] for row in after.values() if row["reason"] is not None]
    assert said["rejected"] == {reason: reasons.count(reason) for reason in set(reasons)}
    assert (said["to_encode"], said["to_score"], said["to_caption"], said["to_measure"]) == (0, 0, 0, {})


def test_clips_that_would_have_to_be_measured_first_are_counted_apart(tmp_path):
    dataset = unpack("bd6a85b", tmp_path).dataset
    profile = str(dataset.parent / "profile.toml")
    params = BuildDatasetParams(
        action="refilter", dataset=dataset, profile=profile, filter={"max_text_area": 0.1}
    )
    untouched = files(dataset)
    said = try_refilter(params)
    assert said["to_measure"] == {"text": 16} and said["clips"]["then"] == said["clips"]["now"] == 16
    assert files(dataset) == untouched and ClipDataset.open(dataset).tag == "build-0001"


def test_wrong_values_are_one_line(made):
    with pytest.raises(RequestError, match=r"filter: max_text_area: .*less than or equal to 1"):
        tried(made, filter={"max_text_area": 2})
    with pytest.raises(RequestError, match="max_nudity needs a detector"):
        tried(made, filter={"max_nudity": 0.5})


def test_the_command_prints_it(made, monkeypatch, tmp_home):
    untouched = files(made)
    told = CliRunner().invoke(
        app, ["dataset", "refilter", str(made), "--clip-threshold", "0.2", "--try", "--json"]
    )
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["result"]["clips"] == {"now": 2, "then": 3}
    assert json.loads(told.stdout)["result"]["coming"] == {"clip_score": 1} and files(made) == untouched
