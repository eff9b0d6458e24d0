"""The retrain flow on `vidrd up`, from its schedule: the first run trains and proposes, the next finds nothing new."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.profile import PROFILES_DIR
from storage.registry import CHAMPION, Registry
from tests.training_dataset import write_training_dataset

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT_S = 1500
QUICK = {
    "heldout_samples = 64": "heldout_samples = 8",
    "num_workers = 2": "num_workers = 1",
    "num_inference_steps = 20": "num_inference_steps = 2",
    "num_videos = 40": "num_videos = 4",
}


@pytest.fixture
def quick_profile(tmp_path: Path) -> Path:
    """The profile tiny with little to measure."""
    text = (PROFILES_DIR / "tiny" / "profile.toml").read_text(encoding="utf-8")
    text = text.replace('"./', f'"{PROFILES_DIR / "tiny"}/')
    for usual, quick in QUICK.items():
        assert usual in text
        text = text.replace(usual, quick)
    path = tmp_path / "profile.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def prefect_api(tmp_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of the Prefect server of a `vidrd up`, which ends with the test."""
    ports = [_free_port(), _free_port()]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_home}/mlflow.db")
    tmp_home.mkdir()
    command = [sys.executable, "-m", "flows.cli", "up"]
    command += [f"--prefect-port={ports[0]}", f"--mlflow-port={ports[1]}"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as up:
        assert up.stdout is not None
        try:
            assert any("in another terminal" in line for line in up.stdout), "it ended before it was up"
            monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{ports[1]}")
            yield f"http://127.0.0.1:{ports[0]}/api"
        finally:
            up.send_signal(signal.SIGINT)
            up.wait(timeout=120)


@pytest.mark.slow
def test_by_schedule_a_new_tag_is_trained_on_once(prefect_api, tmp_path, tiny_profile, quick_profile):
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings

    dataset = write_training_dataset(tmp_path / "d", Path(tiny_profile.model), train=12, val=8)
    params = {"dataset": str(dataset), "profile": str(quick_profile), "part": "temporal", "temporal_steps": 2}
    _deploy_with_a_schedule_that_fires_now(params, tmp_path / "prefect.yaml", prefect_api)
    with temporary_settings({PREFECT_API_URL: prefect_api}), get_client(sync_client=True) as client:
        done = _wait_for(lambda: _ended_runs(client), 2)
        assert [run.state_name for run in done] == ["Completed", "Completed"]
        assert all(run.auto_scheduled for run in done)
        shown = {artifact.flow_run_id: artifact.data for artifact in _artifacts(client, "retrain")}
        (proposal,) = _artifacts(client, "proposal")
    first, second = done
    assert "`models:/vidrd/1` (candidate)" in shown[first.id]
    assert shown[second.id].startswith("nothing to train: ") and "version 1" in shown[second.id]
    registry = Registry()
    assert registry.alias_version("candidate") == 1 and registry.alias_version(CHAMPION) is None
    tags = registry.version_tags(1)
    assert tags["dataset_tag"] == "build-0001" and tags["evaluation.n"] == "4"
    assert tags["proposal"] in ("promote", "refuse") and tags["proposal.reason"] in proposal.data


def _deploy_with_a_schedule_that_fires_now(params: dict[str, Any], file: Path, api: str) -> None:
    """Deploys retrain from prefect.yaml with its own schedule's parameters, but for when it fires and on what."""
    content = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    (retrain,) = (d for d in content["deployments"] if d["name"] == "retrain")
    (schedule,) = retrain["schedules"]
    del schedule["cron"]
    schedule |= {"interval": 60, "anchor_date": datetime.now(UTC).isoformat()}
    schedule["parameters"]["params"] |= params
    file.write_text(yaml.safe_dump(content | {"deployments": [retrain]}))
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(file)],
        cwd=ROOT,
        env=os.environ | {"PREFECT_API_URL": api},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _ended_runs(client: Any) -> list[Any]:
    runs = client.read_flow_runs()
    ended = [run for run in runs if run.name and run.state.is_final() and run.parent_task_run_id is None]
    return sorted(ended, key=lambda run: run.end_time)


def _artifacts(client: Any, key: str) -> list[Any]:
    return [artifact for artifact in client.read_artifacts() if artifact.key == key]


def _wait_for(look: Callable[[], list[Any]], count: int) -> list[Any]:
    deadline_s = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline_s:
        found = look()
        if len(found) >= count:
            return found[:count]
        threading.Event().wait(2)
    raise AssertionError(f"only {len(look())} of {count} runs ended within {TIMEOUT_S} s")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
