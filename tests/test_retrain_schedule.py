"""The retrain flow on `vidrd up`, from its schedule: the first run trains and proposes, the next finds nothing new."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.registry.names import CHAMPION
from storage.registry.registry import Registry
from tests.served_deployments import (
    artifacts,
    deploy_firing_now,
    ended_runs,
    settings_for,
    vidrd_up,
    wait_for,
    write_quick_profile,
)
from tests.training_dataset import write_training_dataset

QUICK = {
    "heldout_samples = 64": "heldout_samples = 8",
    "num_workers = 2": "num_workers = 1",
    "num_inference_steps = 20": "num_inference_steps = 2",
    "num_videos = 40\nlong_videos = 16": "num_videos = 4\nlong_videos = 2",
}


@pytest.fixture
def prefect_api(tmp_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with vidrd_up(tmp_home, monkeypatch) as api:
        yield api


@pytest.mark.slow
def test_by_schedule_a_new_tag_is_trained_on_once(prefect_api, tmp_path, tiny_profile):
    from prefect.client.orchestration import get_client
    from prefect.settings import temporary_settings

    profile = write_quick_profile(tmp_path / "profile.toml", QUICK)
    dataset = write_training_dataset(tmp_path / "d", Path(tiny_profile.model), train=12, val=8)
    params = {"dataset": str(dataset), "profile": str(profile), "part": "temporal", "temporal_steps": 2}
    deploy_firing_now("retrain", params, tmp_path / "prefect.yaml", prefect_api, every_s=60)
    with temporary_settings(settings_for(prefect_api)), get_client(sync_client=True) as client:
        done = wait_for(lambda: ended_runs(client), 2)
        assert [run.state_name for run in done] == ["Completed", "Completed"]
        assert all(run.auto_scheduled for run in done)
        shown = {artifact.flow_run_id: artifact.data for artifact in artifacts(client, "retrain")}
        (proposal,) = artifacts(client, "proposal")
    first, second = done
    assert "`models:/vidrd/1` (candidate)" in shown[first.id]
    assert shown[second.id].startswith("nothing to train: ") and "version 1" in shown[second.id]
    registry = Registry()
    assert registry.alias_version("candidate") == 1 and registry.alias_version(CHAMPION) is None
    tags = registry.version_tags(1)
    assert tags["dataset_tag"] == "build-0001" and tags["evaluation.n"] == "4"
    # Four videos are enough to see the way there, and too few for a verdict.
    assert tags["proposal"] == "cannot-judge" and tags["proposal.reason"] in proposal.data
