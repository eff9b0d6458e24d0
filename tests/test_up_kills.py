"""A real `vidrd up` under kill -9: of a run, of the worker, of a server and of itself; and what a person switched."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest
import yaml

from flows.up.processes import FLOW_RUN, environment_of, marked
from tests.served_deployments import settings_for
from tests.up_children import ROOT, free_port, runs, wait_until

DEPLOYMENT = {
    "name": "sleep",
    "entrypoint": "tests.sleeping_flow.sleep",
    "work_pool": {"name": "vidrd"},
    "concurrency_limit": {"limit": 1, "collision_strategy": "ENQUEUE"},
}


class Up:
    """A `vidrd up` of a home, started again and again on the same ports."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.ports = [free_port(), free_port()]
        self.api = f"http://127.0.0.1:{self.ports[0]}/api"
        self.environment = os.environ | {"VIDRD_HOME": str(home), "PREFECT_HOME": str(home / "prefect")}
        self.lines: list[str] = []

    def start(self, *options: str) -> None:
        """Starts it and waits until it is up; `lines` is what it has said."""
        ports = [f"--prefect-port={self.ports[0]}", f"--mlflow-port={self.ports[1]}"]
        command = [sys.executable, "-m", "flows.cli", "up", *ports, *options]
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.lines = []
        for line in self.process.stdout:
            self.lines.append(line)
            if "Ctrl-C here ends everything" in line:
                return
        raise AssertionError(f"it ended before it was up: {''.join(self.lines)}")

    def prefect(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "prefect", *arguments],
            cwd=ROOT,
            env=self.environment | {"PREFECT_API_URL": self.api},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def child(self, name: str) -> psutil.Process:
        """The process of a child itself, not what is below it."""
        return next(one for one in marked(self.home, name) if one.ppid() == self.process.pid)

    def is_back(self, name: str, dead: psutil.Process) -> bool:
        return any(one.ppid() == self.process.pid and one.pid != dead.pid for one in marked(self.home, name))

    def run_process(self, run: UUID) -> psutil.Process:
        return next(
            one
            for one in marked(self.home, "worker")
            if (environment_of(one.pid) or {}).get(FLOW_RUN) == str(run)
        )


@contextmanager
def client_of(up: Up) -> Iterator[Any]:
    from prefect.client.orchestration import get_client
    from prefect.settings import temporary_settings

    with temporary_settings(settings_for(up.api)), get_client(sync_client=True) as client:
        yield client


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """A machine on which so many processes more want a core."""
    spinners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()


@pytest.fixture
def up(tmp_home, monkeypatch) -> Iterator[Up]:
    import prefect.client.orchestration  # noqa: F401 - before one runs, which our plugin would set for all tests

    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    tmp_home.mkdir()
    up = Up(tmp_home)
    yield up
    if up.process.poll() is None:
        up.process.kill()
        up.process.wait()
    wait_until(lambda: not marked(tmp_home))


def state(client: Any, run: UUID) -> str:
    return str(client.read_flow_run(run).state.name)


def state_in_database(home: Path, run: UUID) -> str:
    with sqlite3.connect(home / "prefect" / "prefect.db") as database:
        rows = database.execute("select id, state_name from flow_run").fetchall()
    return next(name for number, name in rows if UUID(number) == run)


def scheduled(client: Any) -> dict[str, bool]:
    found = client.read_deployments()
    return {one.name: one.schedules[0].active for one in found if one.name in ("retrain", "evaluate")}


@pytest.mark.slow
@pytest.mark.gate
def test_whatever_is_killed_the_others_go_on_and_no_slot_is_stuck(up, tmp_path):
    up.start()
    (tmp_path / "prefect.yaml").write_text(
        yaml.safe_dump(
            {
                "name": "vidrd",
                "pull": [{"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}],
                "deployments": [DEPLOYMENT],
            }
        )
    )
    up.prefect("--no-prompt", "deploy", "--all", "--prefect-file", str(tmp_path / "prefect.yaml"))
    with client_of(up) as client:
        deployment = client.read_deployment_by_name("sleep/sleep").id

        def new_run(seconds: float = 3600.0) -> UUID:
            found = client.create_flow_run_from_deployment(deployment, parameters={"seconds": seconds})
            return UUID(str(found.id))

        first, second = new_run(), new_run()
        wait_until(lambda: "Running" in (state(client, first), state(client, second)), 120)
        if state(client, second) == "Running":
            first, second = second, first

        # The worker is killed, on a machine at load 8: another comes, and the run goes on.
        servers = [up.child("prefect").pid, up.child("mlflow").pid]
        engine, worker = up.run_process(first), up.child("worker")
        with busy(8):
            worker.kill()
            wait_until(lambda: up.is_back("worker", worker), 60)
            end_s = time.monotonic() + 60.0
            while time.monotonic() < end_s:
                assert state(client, first) == "Running" and runs(engine.pid)
                assert state(client, second) != "Running"
                time.sleep(2)
        assert [up.child("prefect").pid, up.child("mlflow").pid] == servers

        # The run is killed when no worker looks on: it is marked, and the next has its slot.
        engine.kill()
        killed_s = time.monotonic()
        wait_until(lambda: state(client, first) == "Crashed", 60)
        print(f"marked {time.monotonic() - killed_s:.0f} s after its end")
        wait_until(lambda: state(client, second) == "Running", 120)

        # The Prefect server is killed: it comes back, and the run does not notice.
        server = up.child("prefect")
        server.kill()
        wait_until(lambda: up.is_back("prefect", server), 60)
        wait_until(lambda: answers(client), 180)
        assert state(client, second) == "Running" and runs(up.run_process(second).pid)

        evaluate = client.read_deployment_by_name("evaluate/evaluate")
        client.update_deployment_schedule(evaluate.id, evaluate.schedules[0].id, active=False)

    # All of it is killed: nothing is left, and what ran is known as crashed when the next one is up.
    up.process.kill()
    up.process.wait()
    wait_until(lambda: not marked(up.home), 20)
    up.start()
    with client_of(up) as client:
        assert state(client, second) == "Crashed"
        assert scheduled(client) == {"retrain": True, "evaluate": False}
        assert any("evaluate (daily): switched off" in line for line in up.lines)
        assert any("retrain (weekly): next on 20" in line for line in up.lines)
        third = client.create_flow_run_from_deployment(deployment, parameters={"seconds": 1.0}).id
        wait_until(lambda: state(client, third) == "Completed", 120)
        last = client.create_flow_run_from_deployment(deployment).id
        wait_until(lambda: state(client, last) == "Running", 120)

    # It is asked to end, by the system or by Ctrl-C: within ten seconds, and no run is left Running.
    asked_s = time.monotonic()
    up.process.send_signal(signal.SIGTERM)
    assert up.process.wait(timeout=60) == 0
    print(f"ended {time.monotonic() - asked_s:.1f} s after SIGTERM")
    assert not marked(up.home)
    assert state_in_database(up.home, last) == "Crashed"
    log = (up.home / "logs" / "prefect.log").read_text()
    assert log.count("vidrd up starts prefect") == 3


def answers(client: Any) -> bool:
    import httpx
    from prefect.exceptions import PrefectException

    try:
        client.read_deployments()
    except (httpx.HTTPError, PrefectException):
        return False
    return True


@pytest.mark.slow
def test_no_schedules_switches_off_what_a_person_left_on_and_the_next_up_switches_that_on_again(up):
    up.start("--no-schedules")
    assert sum("switched off" in line for line in up.lines) == 2
    with client_of(up) as client:
        assert scheduled(client) == {"retrain": False, "evaluate": False}
        retrain = client.read_deployment_by_name("retrain/retrain")
        # A person makes one of their own in the UI, without a name, and by hand deploys the file again.
        from prefect.client.schemas.schedules import CronSchedule

        client.create_deployment_schedules(retrain.id, [(CronSchedule(cron="0 3 * * 1"), False)])
    # A run is taken up by no schedule, and a second start, killed in its middle, forgets nothing.
    up.process.kill()
    up.process.wait()
    up.start()
    with client_of(up) as client:
        assert scheduled(client)["evaluate"] is True
        found = client.read_deployment_by_name("retrain/retrain").schedules
        assert {(one.schedule.cron, one.active) for one in found} == {
            ("0 2 * * 0", True),
            ("0 3 * * 1", False),
        }
    down = subprocess.run(
        [sys.executable, "-m", "flows.cli", "down"],
        cwd=ROOT,
        env=up.environment,
        capture_output=True,
        text=True,
    )
    assert down.returncode == 0 and f"ended vidrd up, process {up.process.pid}" in down.stdout
    assert up.process.wait(timeout=10) == 0
    assert not marked(up.home)


@pytest.mark.slow
def test_a_removed_home_and_a_server_that_hangs_end_in_time(up):
    up.start()
    shutil.rmtree(up.home)
    assert up.process.wait(timeout=60) == 2
    assert (
        up.process.stderr.read()
        == f"error: VIDRD_HOME: {up.home} was removed while vidrd up ran; start it again\n"
    )
    assert not marked(up.home)
    # The next one is as good as new. Its server hangs while it is asked to end, by the system and once more.
    up.start()
    up.child("prefect").suspend()
    asked_s = time.monotonic()
    up.process.send_signal(signal.SIGTERM)
    assert up.process.wait(timeout=120) == 0
    print(f"ended {time.monotonic() - asked_s:.1f} s after SIGTERM")
    assert time.monotonic() - asked_s < 40
    assert not marked(up.home)
    up.start()
    up.child("prefect").suspend()
    up.process.send_signal(signal.SIGTERM)
    assert any("stopping" in line for line in up.process.stdout)
    up.process.send_signal(signal.SIGTERM)
    assert up.process.wait(timeout=30) == 128 + signal.SIGTERM
    assert not marked(up.home)
