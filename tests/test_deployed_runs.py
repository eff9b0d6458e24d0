"""Runs of deployments: cancelled ones end as Cancelled, failed ones say why, and their logs tell how far they are."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.served_deployments import ROOT, settings_for, vidrd_up

CANCELLED_WITHIN_S = 30.0


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One `vidrd up` for the file."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("up") / "home"
        patch.setenv("VIDRD_HOME", str(home))
        with vidrd_up(home, patch) as address:
            patch.setenv("PREFECT_API_URL", address)
            yield address


def _prefect(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "prefect", *arguments],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "300"},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def client(api: str) -> Iterator[Any]:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.settings import PREFECT_API_AUTH_STRING

    with SyncPrefectClient(api, auth_string=settings_for(api)[PREFECT_API_AUTH_STRING]) as client:
        yield client


def _start(client: Any, **params: Any) -> Any:
    deployment = client.read_deployment_by_name("build-dataset/build-dataset")
    return client.create_flow_run_from_deployment(deployment.id, parameters={"params": params}).id


def _wait(client: Any, run_id: Any, reached: Any, limit_s: float = 300.0) -> Any:
    deadline_s = time.monotonic() + limit_s
    while not reached(run := client.read_flow_run(run_id)):
        assert time.monotonic() < deadline_s, run.state
        threading.Event().wait(0.2)
    return run


def _path(client: Any, run_id: Any) -> list[str]:
    return [state.type.value for state in client.read_flow_run_states(run_id)]


def _works(client: Any, run_id: Any) -> bool:
    """Whether Ray's workers are at it: some sources are done."""
    shown = [artifact for artifact in client.read_artifacts() if artifact.flow_run_id == run_id]
    return any(artifact.type == "progress" and float(artifact.data) > 0 for artifact in shown)


@pytest.mark.slow
@pytest.mark.parametrize("when", ["waits", "is taken", "works"])
def test_a_cancelled_run_ends_as_cancelled_and_was_never_crashed(when, api, client, tmp_path):
    first = _start(client, dataset=str(tmp_path / "first"))
    run_id = first
    if when == "waits":  # for the slot of the first
        _wait(client, first, lambda run: run.state.is_running())
        run_id = _start(client, dataset=str(tmp_path / "second"))
        _wait(client, run_id, lambda run: run.state.name == "AwaitingConcurrencySlot")
    elif when == "is taken":
        _wait(client, first, lambda run: run.state.is_pending() or run.state.is_running())
    else:
        _wait(client, first, lambda run: _works(client, first))
    done = _prefect("flow-run", "cancel", str(run_id))
    assert done.returncode == 0, done.stdout + done.stderr
    _wait(client, run_id, lambda run: run.state.is_cancelled(), CANCELLED_WITHIN_S)
    assert "CRASHED" not in _path(client, run_id)
    if run_id != first:
        _prefect("flow-run", "cancel", str(first))
        _wait(client, first, lambda run: run.state.is_final(), CANCELLED_WITHIN_S)
    _wait(client, run_id, lambda run: run.state.is_final(), 5)


@pytest.mark.slow
def test_a_training_that_is_cancelled_ends_although_ray_waits_for_its_workers(
    api, client, training_clips: Path
):
    deployment = client.read_deployment_by_name("retrain/retrain")
    params = {"dataset": str(training_clips), "part": "temporal", "temporal_steps": 10_000}
    run_id = client.create_flow_run_from_deployment(deployment.id, parameters={"params": params}).id
    _wait(client, run_id, lambda run: _works(client, run_id))
    assert _prefect("flow-run", "cancel", str(run_id)).returncode == 0
    _wait(client, run_id, lambda run: run.state.is_cancelled(), CANCELLED_WITHIN_S)
    assert "CRASHED" not in _path(client, run_id)


@pytest.mark.slow
def test_a_failed_run_says_why_in_one_line(api, client, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    (images / "nothing.png").write_text("This is no image.")
    corpora = tmp_path / "corpora.toml"
    table = {
        "name": "broken",
        "kind": "images",
        "format": "folder",
        "path": str(images),
        "licence": "CC0-1.0",
    }
    corpora.write_text("[[corpus]]\n" + "".join(f'{name} = "{value}"\n' for name, value in table.items()))
    params = f'{{"corpora": "{corpora}", "dataset": "{tmp_path / "d"}"}}'
    done = _prefect("deployment", "run", "build-dataset", "--watch", "--param", f"params={params}")
    assert done.returncode == 1
    told = [line for line in done.stdout.splitlines() if "failed: dataset: " in line]
    assert len(told) == 1 and "holds no clip" in told[0], done.stdout
    (run,) = [run for run in client.read_flow_runs() if run.state.is_failed()]
    assert "holds no clip" in run.state.message and "\n" not in run.state.message.strip()


@pytest.mark.slow
def test_a_run_that_fails_before_its_flow_begins_says_why(api, client):
    """Settings beside params, as everybody writes them once, and a flow that cannot be imported."""
    deployment = client.read_deployment_by_name("build-dataset/build-dataset")
    beside = client.create_flow_run_from_deployment(deployment.id, parameters={"dataset": "runs/mine"}).id
    elsewhere = client.create_deployment(
        deployment.flow_id, "gone", entrypoint="flows.gone.gone", work_pool_name="vidrd", path=str(ROOT)
    )
    gone = client.create_flow_run_from_deployment(elsewhere).id
    for run_id, told in ((beside, "['dataset']; all settings of a run go into params"), (gone, "flows.gone")):
        run = _wait(client, run_id, lambda run: run.state.is_final(), 120)
        assert run.state.is_failed() and told in run.state.message and "\n" not in run.state.message
        threading.Event().wait(10)  # its worker has seen its exit code by now
        assert _path(client, run_id)[-1] == "FAILED"


@pytest.mark.slow
def test_the_log_of_a_run_tells_losses_and_how_long_it_takes(api, client, training_clips: Path, tmp_path):
    from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId

    deployment = client.read_deployment_by_name("retrain/retrain")
    params = {"dataset": str(training_clips), "part": "temporal", "temporal_steps": 60}
    run_id = client.create_flow_run_from_deployment(deployment.id, parameters={"params": params}).id
    _wait(client, run_id, lambda run: run.state.is_final(), 900)
    logs = client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run_id])))
    told = [log.message for log in logs if log.message.startswith("[retrain temporal]")]
    assert any("loss" in line for line in told), told
    assert any("left" in line for line in told) or len(told) < 3, told
