"""Runs whose process is dead: found, and told to the Prefect server, so that their concurrency slot is free again.

A run ends in a state because its process says so, or its worker. When both are killed, nobody does: the run stays
Running, Pending or Submitting, and every later run of its deployment waits. `vidrd up` sees the processes, so a run is
dead when its process is, however busy the machine is. Where the process cannot be seen (it is in another container,
say), only a heartbeat that has stopped tells.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psutil

from flows.up.processes import end_with_children
from flows.up.run_processes import Leftovers, WorkerRuns, is_worker, tagged_process
from flows.up.servers import WORK_POOL
from storage.local.home import home

if TYPE_CHECKING:
    from datetime import datetime

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

LOOK_EVERY_S = 10.0
LEFTOVERS_EVERY = 3  # looks
SILENT_AFTER_S = 240.0  # eight heartbeats
SUBMITTED_WITHIN_S = 300.0
CANCELLED_WITHIN_S = 20.0
ANSWERED_WITHIN_S = 10.0  # Prefect's own client would ask for minutes
_PAGE = 200


class Life(Enum):
    """What is known of the process of a run."""

    LIVES = "lives"
    DEAD = "dead"
    UNSEEN = "unseen"


class RunWatch:
    """Looks for runs without a process, again and again; a run is marked when two looks in a row find it dead."""

    def __init__(
        self,
        say: Callable[[str], None],
        sees_workers: bool = True,
        silent_after_s: float = SILENT_AFTER_S,
        cancelled_within_s: float = CANCELLED_WITHIN_S,
    ) -> None:
        self._say = say
        self._sees_workers = sees_workers
        self._silent_after_s = silent_after_s
        self._answering_since_s = time.monotonic()
        self._cancelled_within_s = cancelled_within_s
        self._processes = WorkerRuns()
        self._suspects: dict[UUID, UUID] = {}
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Looks every ten seconds from now on, in a thread: a server that hangs must not hold up the supervisor."""
        self._thread = threading.Thread(target=self._look_again_and_again, name="run-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; does not wait for a server that does not answer."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(timeout=2.0)

    def settle(self, why: str) -> None:
        """Marks at once what is dead, with two looks in short order: before a worker starts, after it has ended."""
        for _ in range(2):
            self.look(why)
            time.sleep(0.2)

    def settle_if_answered(self, why: str) -> None:
        """As `settle`, but a server that is away or hangs is let be: what is dead is marked at the next start."""

        def settle() -> None:
            with suppress(*_server_errors()):
                self.settle(why)

        settling = threading.Thread(target=settle, name="settling", daemon=True)
        settling.start()
        settling.join(timeout=ANSWERED_WITHIN_S)

    def look(self, why: str = "its process ended without a word") -> None:
        """One look at all runs that hold a slot or seem to run; marks those that the last look found dead too."""
        from prefect.client.orchestration import get_client
        from prefect.exceptions import ObjectNotFound

        with get_client(sync_client=True) as client:
            runs = _active_runs(client)
            if runs:
                self._processes.look()  # after the runs were read: a process that ended since has told how
            suspects = {}
            for run in runs:
                assert run.state is not None  # it was chosen by its state
                try:
                    if self._life(client, run) is not Life.DEAD:
                        self._cancel_if_asked(client, run)
                    elif self._suspects.get(run.id) == run.state.id:
                        self._mark(client, run, why)
                    else:
                        suspects[run.id] = run.state.id
                except ObjectNotFound:  # deleted just now, or what it is part of
                    continue
            self._suspects = suspects

    def wait(self) -> None:
        """Stays until the thread ends."""
        assert self._thread is not None
        self._thread.join()

    def _look_again_and_again(self) -> None:
        leftovers = Leftovers(home())
        for number in itertools.count():
            if self._stopped.wait(LOOK_EVERY_S):
                return
            try:
                self.look()
                if self._sees_workers and number % LEFTOVERS_EVERY == 0:
                    self._processes.look()
                    for line in leftovers.end(self._processes):
                        self._say(f"ended {line}")
            except _server_errors():
                # At the earliest: heartbeats that came while it did not answer were not taken down.
                self._answering_since_s = time.monotonic()

    def _life(self, client: SyncPrefectClient, run: FlowRun) -> Life:
        """Whether the process of a run lives; of one that is part of another, whether that one's does."""
        if (tagged := tagged_process(run.tags)) is not None and run.deployment_id is None:
            if tagged.is_here:
                return Life.LIVES if tagged.lives() else Life.DEAD
            return self._by_heartbeat(client, run)
        if run.deployment_id is None and run.parent_task_run_id is not None:
            parent_id = client.read_task_run(run.parent_task_run_id).flow_run_id
            if parent_id is None:
                return Life.UNSEEN
            parent = client.read_flow_run(parent_id)
            return (
                Life.DEAD if parent.state is None or parent.state.is_final() else self._life(client, parent)
            )
        if run.deployment_id is None or run.work_pool_name != WORK_POOL or not self._sees_workers:
            return self._by_heartbeat(client, run)
        return self._by_worker(run)

    def _by_worker(self, run: FlowRun) -> Life:
        """Of a run that a worker on this machine runs, or is about to run."""
        if self._processes.process_of(run.id) is not None or _may_be_hidden(run.infrastructure_pid):
            return Life.LIVES
        if run.state is None or not run.state.is_pending():
            return Life.DEAD
        since_s = run.state.timestamp.timestamp()
        submitting = self._processes.may_be_submitting(since_s) and time.time() - since_s < SUBMITTED_WITHIN_S
        return Life.LIVES if submitting else Life.DEAD

    def _by_heartbeat(self, client: SyncPrefectClient, run: FlowRun) -> Life:
        """Of a run whose process is not to be seen: dead once it beat and has been silent for four minutes.

        The server must have answered for all that time, or it may have missed the beats.
        """
        if time.monotonic() - self._answering_since_s < self._silent_after_s or run.state is None:
            return Life.UNSEEN
        last_beat_s = last_heartbeat_s(client, run.id, since=run.state.timestamp)
        if last_beat_s is None or time.time() - last_beat_s < self._silent_after_s:
            return Life.UNSEEN
        return Life.DEAD

    def _cancel_if_asked(self, client: SyncPrefectClient, run: FlowRun) -> None:
        """Ends the process of a cancelled run whose worker has died: nobody else would."""
        process_id = self._processes.process_of(run.id)
        if process_id is None or run.state is None or not run.state.is_cancelling():
            return
        if time.time() - run.state.timestamp.timestamp() < self._cancelled_within_s or _has_worker(
            process_id.pid
        ):
            return
        end_with_children(process_id.pid, patience_s=5.0)
        self._mark(client, run, "cancelled after its worker had died")

    def _mark(self, client: SyncPrefectClient, run: FlowRun, why: str) -> None:
        """Says how a run ended. The server refuses it for one that has ended meanwhile."""
        from prefect.states import Cancelled, Crashed

        assert run.state is not None
        state: Any = (Cancelled if run.state.is_cancelling() else Crashed)(message=f"{why} (vidrd up)")
        answer = client.set_flow_run_state(run.id, state)
        if answer.state is not None and answer.state.is_final():
            self._say(f"run {run.name} ({run.id}) is marked {answer.state.name}: {why}")


def _server_errors() -> tuple[type[Exception], ...]:
    """What a look raises when the server is away or says that it cannot."""
    import httpx
    from prefect.exceptions import PrefectException

    return (httpx.HTTPError, PrefectException, OSError, RuntimeError)


def _active_runs(client: SyncPrefectClient) -> list[FlowRun]:
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
    from prefect.client.schemas.objects import StateType

    active = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
    chosen = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=active)))
    runs: list[FlowRun] = []
    while page := client.read_flow_runs(flow_run_filter=chosen, limit=_PAGE, offset=len(runs)):
        runs += page
    return runs


def last_heartbeat_s(client: SyncPrefectClient, run_id: UUID, since: datetime) -> float | None:
    """When a run's last heartbeat came, in seconds since 1970; those of an earlier attempt do not count."""
    from prefect.events.filters import (
        EventFilter,
        EventNameFilter,
        EventOccurredFilter,
        EventOrder,
        EventResourceFilter,
    )

    chosen = EventFilter(
        occurred=EventOccurredFilter(since=since),
        event=EventNameFilter(name=["prefect.flow-run.heartbeat"]),
        resource=EventResourceFilter(id=[f"prefect.flow-run.{run_id}"]),
        order=EventOrder.DESC,
    )
    events = client.read_events(chosen, limit=1).events
    return events[0].occurred.timestamp() if events else None


def _may_be_hidden(infrastructure_pid: str | None) -> bool:
    """Whether a process has this number whose environment we may not read: another user's worker's, say."""
    if not infrastructure_pid or not infrastructure_pid.isdecimal():
        return False
    try:
        psutil.Process(int(infrastructure_pid)).environ()
    except psutil.AccessDenied:
        return True
    except (psutil.Error, OSError):
        return False
    return False


def _has_worker(pid: int) -> bool:
    try:
        return any(is_worker(parent.cmdline()) for parent in psutil.Process(pid).parents())
    except psutil.Error:
        return False


if __name__ == "__main__":  # where workers run in containers of their own: infra/docker/worker.sh
    from flows.environment import prepare

    prepare()
    watch = RunWatch(lambda line: print(line, flush=True), sees_workers=False)
    watch.start()
    watch.wait()
