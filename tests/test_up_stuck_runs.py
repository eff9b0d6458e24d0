"""Runs whose process is dead are marked and free their slot; runs whose process lives are never marked."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID, uuid4

import pytest

from flows.up.processes import FLOW_RUN, ProcessId
from flows.up.run_processes import process_tag, tagged_process
from flows.up.stuck_runs import RunWatch, last_heartbeat_s
from tests.sleeping_flow import sleep
from tests.up_children import ROOT, wait_until

SLEEPER = "import time; print(1, flush=True); time.sleep(600)"


@pytest.fixture
def client(prefect_session):
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        yield client
        for run in client.read_flow_runs():  # a run of one test is none of the next
            client.delete_flow_run(run.id)


@pytest.fixture
def deployment(client):
    """A deployment of the pool `vidrd` that takes one run at a time."""
    from flows.up.servers import ensure_work_pool

    ensure_work_pool()
    flow_id = client.create_flow(sleep)
    return client.create_deployment(flow_id, f"sleep-{uuid4()}", work_pool_name="vidrd", concurrency_limit=1)


@contextmanager
def process(name: str = "prefect.engine", **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A living process that is called as Prefect calls the one of a run."""
    started = subprocess.Popen(
        [sys.executable, "-c", SLEEPER, *name.split()],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
    )
    assert started.stdout is not None and started.stdout.readline()
    try:
        yield started
    finally:
        started.kill()
        started.wait()


def submitted_run(client, deployment: UUID) -> UUID:
    """A run that a worker has taken up: Pending, with the slot."""
    from prefect.states import Pending

    run = client.create_flow_run_from_deployment(deployment)
    assert client.set_flow_run_state(run.id, Pending(name="Submitting")).state.is_pending()
    return run.id


def running_run(client, deployment: UUID) -> UUID:
    from prefect.states import Running

    run_id = submitted_run(client, deployment)
    client.update_flow_run(run_id, infrastructure_pid="4194305")  # more than Linux ever gives
    assert client.set_flow_run_state(run_id, Running()).state.is_running()
    return run_id


def states(client, *runs: UUID) -> list[str]:
    return [client.read_flow_run(run).state.name for run in runs]


def looks(times: int = 2, **settings: float) -> list[str]:
    lines: list[str] = []
    watch = RunWatch(lines.append, **settings)
    for _ in range(times):
        watch.look()
    return lines


@pytest.mark.parametrize("make", [submitted_run, running_run])
def test_a_run_without_a_process_is_crashed_and_the_next_gets_its_slot(client, deployment, make):
    from prefect.states import Pending

    dead = make(client, deployment)
    waiting = client.create_flow_run_from_deployment(deployment)
    assert client.set_flow_run_state(waiting.id, Pending()).state.name == "AwaitingConcurrencySlot"
    (line,) = looks()
    assert str(dead) in line and "Crashed" in line
    assert states(client, dead) == ["Crashed"]
    assert client.set_flow_run_state(waiting.id, Pending()).state.is_pending()


def test_a_run_whose_process_lives_is_never_marked(client, deployment):
    run = running_run(client, deployment)
    with process(**{FLOW_RUN: str(run)}):
        assert looks(6) == []
        assert states(client, run) == ["Running"]
    (line,) = looks()
    assert str(run) in line


def test_what_a_dead_run_has_started_is_not_taken_for_it(client, deployment):
    run = running_run(client, deployment)
    with process("ray::Worker", **{FLOW_RUN: str(run)}):  # it inherits the number
        (line,) = looks()
        assert str(run) in line


def test_one_look_alone_marks_nothing(client, deployment):
    run = running_run(client, deployment)
    assert looks(1) == [] and looks(1) == []
    assert states(client, run) == ["Running"]


def test_a_run_that_changed_between_two_looks_is_looked_at_again(client, deployment):
    from prefect.states import Running

    run = submitted_run(client, deployment)
    lines: list[str] = []
    watch = RunWatch(lines.append)
    watch.look()
    client.set_flow_run_state(run, Running())
    watch.look()
    assert lines == []
    watch.look()
    assert len(lines) == 1


def test_a_run_that_a_living_worker_is_about_to_start_is_left_to_it(client, deployment):
    with process("prefect worker start --pool vidrd"):
        run = submitted_run(client, deployment)
        assert looks() == []
    (line,) = looks()  # the worker is dead, and with a worker that came later:
    assert str(run) in line
    run = submitted_run(client, deployment)
    time.sleep(1.1)
    with process("prefect worker start --pool vidrd"):
        assert len(looks()) == 1


def test_the_worker_of_another_server_is_not_about_to_start_a_run_of_this_one(client, deployment):
    with process("prefect worker start --pool vidrd", PREFECT_API_URL="http://127.0.0.1:1/api"):
        run = submitted_run(client, deployment)
        (line,) = looks()
    assert str(run) in line


def test_a_run_of_a_command_is_as_alive_as_the_command(client):
    from prefect.states import Running

    with process("vidrd build-dataset") as command:
        tags = [f"process-{ProcessId.of(command.pid)}"]
        run = client.create_flow_run(sleep, state=Running(), tags=tags)
        assert looks(4) == []
        assert states(client, run.id) == ["Running"]
    looks()
    assert states(client, run.id) == ["Crashed"]


def test_a_command_in_another_container_is_not_judged_by_a_number_of_this_one(client):
    from prefect.states import Running

    here = ProcessId.of(os.getpid())
    assert here is not None
    tags = [f"process-4194305-{here.started}-0123456789"]
    run = client.create_flow_run(sleep, state=Running(), tags=tags)
    assert looks(4) == []
    assert states(client, run.id) == ["Running"]


def beat(client, *runs: UUID) -> None:
    """What a run's engine says every 30 s; returns when the server has taken it down."""
    from prefect.events import emit_event

    said_s = time.time()
    for run in runs:
        emit_event("prefect.flow-run.heartbeat", resource={"prefect.resource.id": f"prefect.flow-run.{run}"})

    def taken_down() -> bool:
        last = [last_heartbeat_s(client, run, client.read_flow_run(run).state.timestamp) for run in runs]
        return all(one is not None and one >= said_s for one in last)

    wait_until(taken_down)


@pytest.mark.slow
@pytest.mark.gate
def test_only_a_heartbeat_that_has_stopped_tells_of_a_process_that_cannot_be_seen(client, deployment):
    from prefect.states import Running

    silent, beating, never = (client.create_flow_run(sleep, state=Running()).id for _ in range(3))
    of_a_worker = running_run(client, deployment)
    lines: list[str] = []
    watch = RunWatch(lines.append, sees_workers=False, silent_after_s=6.0)
    started_s = time.monotonic()
    beat(client, silent, beating, of_a_worker)
    while time.monotonic() - started_s < 5.0:
        watch.look()
        assert lines == []  # it has not been silent for long, nor the server answering
        time.sleep(0.5)
    time.sleep(2.0)
    beat(client, beating)
    watch.look()
    watch.look()
    assert states(client, silent, of_a_worker, beating, never) == ["Crashed", "Crashed", "Running", "Running"]


def test_a_part_of_a_run_is_as_alive_as_the_run(client, deployment):
    from prefect import task
    from prefect.states import Running

    run = running_run(client, deployment)
    task_run = client.create_task_run(task(sleep.fn), flow_run_id=run, dynamic_key="part")
    part = client.create_flow_run(sleep, state=Running(), parent_task_run_id=task_run.id)
    with process(**{FLOW_RUN: str(run)}):
        assert looks(4) == []
    looks(3)
    assert states(client, run, part.id) == ["Crashed", "Crashed"]


def test_a_run_that_ended_meanwhile_keeps_its_end(client, deployment):
    from prefect.states import Completed

    run = running_run(client, deployment)
    lines: list[str] = []
    watch = RunWatch(lines.append)
    watch.look()
    client.set_flow_run_state(run, Completed())
    watch.look()
    assert lines == [] and states(client, run) == ["Completed"]


def test_a_cancelled_run_whose_worker_is_dead_is_ended(client, deployment):
    from prefect.states import Cancelling

    run = running_run(client, deployment)
    with process(**{FLOW_RUN: str(run)}) as engine:
        client.set_flow_run_state(run, Cancelling())
        lines: list[str] = []
        watch = RunWatch(lines.append, cancelled_within_s=0.0)
        watch.look()
        assert engine.wait(timeout=10) != 0
        assert states(client, run) == ["Cancelled"]
        assert len(lines) == 1 and "Cancelled" in lines[0]


def test_a_dead_run_that_was_being_cancelled_is_cancelled(client, deployment):
    from prefect.states import Cancelling

    run = running_run(client, deployment)
    client.set_flow_run_state(run, Cancelling())
    looks()
    assert states(client, run) == ["Cancelled"]


def test_the_tag_of_this_process_is_read_as_this_process():
    found = tagged_process(["data", process_tag()])
    assert found == ProcessId.of(os.getpid())
    assert tagged_process(["data", "process-", "process-1-2", "processes"]) is None


def test_a_command_tags_its_run(prefect_session, client, tmp_home):
    from prefect import tags

    with tags(process_tag()):
        sleep(seconds=0.0)
    (run,) = client.read_flow_runs()
    assert tagged_process(run.tags) == ProcessId.of(os.getpid())


@pytest.mark.slow
@pytest.mark.gate
def test_a_server_that_takes_calls_and_never_answers_holds_up_no_end():
    """As one does that is stopped, and as the held port of one that is just being started again."""
    program = "from flows.up.stuck_runs import RunWatch; RunWatch(print).settle_if_answered('it was stopped')"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env=os.environ | {"PREFECT_API_URL": f"http://127.0.0.1:{silent.getsockname()[1]}/api"},
            check=True,
            timeout=60,
        )
