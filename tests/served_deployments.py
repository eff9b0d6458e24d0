"""A served Prefect with MLflow, as `vidrd up` gives it, and deployments whose own schedules fire now."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.profile import PROFILES_DIR
from storage.local.secret_files import secret
from storage.local.services import USER

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT_S = 1500


def write_quick_profile(path: Path, changes: Mapping[str, str]) -> Path:
    """The profile tiny with other lines, so that there is little to measure."""
    text = (PROFILES_DIR / "tiny" / "profile.toml").read_text(encoding="utf-8")
    text = text.replace('"./', f'"{PROFILES_DIR / "tiny"}/')
    for usual, quick in changes.items():
        assert usual in text, usual
        text = text.replace(usual, quick)
    path.write_text(text, encoding="utf-8")
    return path


@contextmanager
def vidrd_up(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Gives the address of the Prefect server of a `vidrd up`, which ends with the block."""
    ports = [_free_port(), _free_port()]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home}/mlflow.db")
    # A database of its own: runs that another test's schedule has left would be done here.
    monkeypatch.setenv("PREFECT_HOME", str(home / "prefect"))
    home.mkdir(exist_ok=True)
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


def settings_for(api: str) -> dict[Any, str]:
    """Prefect's settings of a client of the `vidrd up` of `$VIDRD_HOME`."""
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL

    return {PREFECT_API_URL: api, PREFECT_API_AUTH_STRING: f"{USER}:{secret('prefect')}"}


def deploy_firing_now(name: str, params: dict[str, Any], file: Path, api: str, every_s: int) -> None:
    """Deploy a flow of prefect.yaml with its own schedule's parameters, but for when it fires and on what."""
    content = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    (deployment,) = (found for found in content["deployments"] if found["name"] == name)
    (schedule,) = deployment["schedules"]
    del schedule["cron"]
    schedule |= {"interval": every_s, "anchor_date": datetime.now(UTC).isoformat()}
    schedule["parameters"]["params"] |= params
    file.write_text(yaml.safe_dump(content | {"deployments": [deployment]}))
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(file)],
        cwd=ROOT,
        env=os.environ | {"PREFECT_API_URL": api},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def ended_runs(client: Any) -> list[Any]:
    """The flow runs that have ended, of no other flow's, in the order in which they did."""
    runs = client.read_flow_runs()
    ended = [run for run in runs if run.name and run.state.is_final() and run.parent_task_run_id is None]
    return sorted(ended, key=lambda run: run.end_time)


def artifacts(client: Any, key: str) -> list[Any]:
    """The artifacts of a key."""
    return [artifact for artifact in client.read_artifacts() if artifact.key == key]


def wait_for(look: Callable[[], list[Any]], count: int) -> list[Any]:
    """The first `count` things that `look` finds, as soon as there are so many."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline_s:
        found = look()
        if len(found) >= count:
            return found[:count]
        threading.Event().wait(2)
    raise AssertionError(f"only {len(look())} of {count} within {TIMEOUT_S} s")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
