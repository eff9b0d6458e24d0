"""`vidrd up`: servers, deployments and a worker come up, are found without an export, and all end with it."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from flows.up.lock import UpLock
from storage.local.services import running_services

ROOT = Path(__file__).resolve().parents[1]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_state_file_without_a_server_counts_for_nothing(tmp_home):
    tmp_home.mkdir()
    (tmp_home / "up.json").write_text(
        f'{{"prefect": "http://127.0.0.1:{_free_port()}", "mlflow": "", "pid": 1}}'
    )
    assert running_services() is None


def test_ports_are_checked_before_anything_starts(tmp_home):
    port = str(_free_port())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        for ports, named in (
            ((port, port), f"--mlflow-port: {port} is --prefect-port too"),
            ((str(taken.getsockname()[1]), str(_free_port())), "--prefect-port: 127.0.0.1:"),
            ((str(_free_port()), str(taken.getsockname()[1])), "--mlflow-port: 127.0.0.1:"),
        ):
            done = _vidrd(tmp_home, "up", f"--prefect-port={ports[0]}", f"--mlflow-port={ports[1]}")
            assert done.returncode == 2
            assert named in done.stderr and done.stderr.count("\n") == 1 and done.stdout == ""
    assert not (tmp_home / "logs").exists()


def test_a_second_up_of_the_same_home_is_refused_and_says_which_process_runs(tmp_home):
    lock = UpLock()
    assert lock.acquire()
    try:
        done = _vidrd(tmp_home, "up", f"--prefect-port={_free_port()}", f"--mlflow-port={_free_port()}")
        assert done.returncode == 2
        assert f"process {os.getpid()}" in done.stderr and "vidrd down" in done.stderr
    finally:
        lock.release()


def test_down_says_so_when_nothing_runs(tmp_home):
    done = _vidrd(tmp_home, "down")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"nothing of vidrd up runs for {tmp_home}\n"


def _vidrd(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flows.cli", *arguments],
        cwd=ROOT,
        env={**os.environ, "VIDRD_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.slow
def test_up_serves_until_interrupted_and_leaves_no_process(tmp_home):
    environment = {**os.environ, "VIDRD_HOME": str(tmp_home)}
    ports = [f"--prefect-port={_free_port()}", f"--mlflow-port={_free_port()}"]
    command = [sys.executable, "-m", "flows.cli", "up", *ports]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as up:
        try:
            assert up.stdout is not None
            assert any("in another terminal" in line for line in up.stdout), "it ended before it was up"
            assert running_services() is not None
            listed = subprocess.run(
                [sys.executable, "-m", "prefect", "deployment", "ls"],
                cwd=ROOT,
                env=environment,
                capture_output=True,
                text=True,
            )
            assert "build-dataset/build-dataset" in listed.stdout
            _doctor_finds_the_servers_well(environment)
            children = psutil.Process(up.pid).children(recursive=True)
            up.send_signal(signal.SIGINT)
            assert up.wait(timeout=120) == 0
        except BaseException:
            up.kill()  # or the block would wait for it for ever
            raise
    assert len(children) >= 3
    assert not [child for child in children if child.is_running()]
    assert running_services() is None


def _doctor_finds_the_servers_well(environment: dict[str, str]) -> None:
    """Both answer, take our sign-in, and MLflow's keeps a file; who lacks the secrets is told what to set."""
    services = running_services()
    assert services is not None
    command = [sys.executable, "-m", "flows.cli", "doctor", "--json"]
    asked = environment | {"MLFLOW_TRACKING_URI": services.mlflow}
    done = subprocess.run(command, cwd=ROOT, env=asked, capture_output=True, text=True)
    findings = {one["about"]: one for one in json.loads(done.stdout)["result"]["findings"]}
    for about, words in (
        ("Prefect", f"{services.prefect_api}/admin, "),
        ("MLflow", f"{services.mlflow}, "),
        ("files of runs", "/mlflow/artifacts/"),
        ("ports", services.prefect),
    ):
        assert findings[about]["state"] == "ok" and words in findings[about]["found"], findings[about]
    stranger = asked | {
        "VIDRD_HOME": f"{environment['VIDRD_HOME']}-other",
        "PREFECT_API_URL": services.prefect_api,
    }
    done = subprocess.run(command, cwd=ROOT, env=stranger, capture_output=True, text=True)
    findings = {one["about"]: one for one in json.loads(done.stdout)["result"]["findings"]}
    assert done.returncode == 1
    assert "PREFECT_API_AUTH_STRING" in findings["Prefect"]["do"]
    assert "MLFLOW_TRACKING_PASSWORD" in findings["MLflow"]["do"]
    assert findings["files of runs"]["state"] == "problem"
