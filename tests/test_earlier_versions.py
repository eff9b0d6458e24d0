"""What earlier versions of the project wrote still opens: datasets, trainings cut off, evaluations, the registry."""

from pathlib import Path

import numpy as np
import pytest

from flows.build_dataset.flow import BuildDatasetParams, build_dataset
from flows.dataset.info import dataset_info
from flows.generate.flow import GenerateParams, generate
from flows.profile import load_profile
from flows.promote.flow import PromoteParams, promote
from flows.promote.verdict import verdict
from flows.retrain.flow import RetrainParams, retrain
from storage.dataset.clip_dataset import ClipDataset
from storage.dataset.verify import verify
from storage.registry.names import CHAMPION
from storage.registry.registry import Registry, resolve_model
from tests.build_world import all_rows
from tests.earlier_version import EarlierVersion, unpack

COMMITS = ["bd6a85b"]


@pytest.fixture(params=COMMITS)
def earlier(request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EarlierVersion:
    """What a commit wrote, with its home as `$VIDRD_HOME`."""
    version = unpack(request.param, tmp_path)
    monkeypatch.setenv("VIDRD_HOME", str(version.home))
    return version


def test_a_dataset_is_read_and_refiltered_as_it_is(earlier, prefect_session):
    before = all_rows(earlier.dataset)
    info = dataset_info(ClipDataset.open(earlier.dataset))
    assert (info["clips"], info["tag"], len(before)) == (16, "build-0001", 16)
    assert all(np.isfinite(np.frombuffer(row["latents"], np.float16)).all() for row in before.values())
    same = BuildDatasetParams(action="refilter", dataset=earlier.dataset, profile=str(earlier.profile))
    again = build_dataset(same)
    assert (again["tag"], again["encoded"], again["rescored"], again["moved"]) == ("build-0001", 0, 0, 0)
    assert all_rows(earlier.dataset) == before
    assert verify(earlier.dataset).problem_count == 0


@pytest.mark.slow
@pytest.mark.gate
def test_a_training_that_was_killed_goes_on_in_its_run(earlier, ray_session, prefect_session):
    result = retrain(
        RetrainParams(dataset=str(earlier.dataset), profile=str(earlier.longer), part="temporal")
    )
    registry = Registry()
    assert result["resumed"] and result["run_id"] == "d64ef4db9c484bfd81bcc94d0679801d"
    assert result["version"] == 2
    steps = {point.step for point in registry.client.get_metric_history(result["run_id"], "temporal.loss")}
    assert steps == set(range(14))


def test_a_champion_makes_videos_and_keeps_its_evaluation(earlier, tmp_path, prefect_session):
    registry = Registry()
    assert registry.alias_version(CHAMPION) == 1
    tags = resolve_model("models:/vidrd@champion").tags
    assert tags["evaluation.setup_digest"] == "d0a07d9b3c01c15f"
    made = generate(
        GenerateParams(prompt="a red circle moving right", clips=2, seed=3, out=tmp_path / "out.mp4",
                       profile=str(earlier.profile))
    )  # fmt: skip
    assert (tmp_path / "out.mp4").stat().st_size > 1000 and made
    unchanged = promote(PromoteParams(model="models:/vidrd/1", profile=str(earlier.profile)))
    assert unchanged["verdict"] == "unchanged"
    # Its recorded rows can be judged anew: beside no champion, and as a champion beside themselves.
    gate = load_profile(str(earlier.profile)).evaluation.gate
    alone = verdict(registry, 1, None, gate)
    assert alone.reason and not alone.promote
    assert not verdict(registry, 1, 1, gate).promote
