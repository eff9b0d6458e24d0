"""Prefect server, MLflow server and one worker on 127.0.0.1, kept running until interrupted: `vidrd up`.

The servers keep their data under `$VIDRD_HOME`, so what runs without them and what runs with them shows up
in the same place. Their output is in `$VIDRD_HOME/logs`. What dies is started again (keeper.py); when this process
itself is killed, the guard ends the others (guard.py); runs whose process has died are marked (stuck_runs.py).
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from flows.terminal import tell
from flows.up.keeper import Keeper
from flows.up.lock import UpLock, holder
from flows.up.logs import open_log
from flows.up.ports import held_ports
from flows.up.processes import MARK, end, end_marked, marked
from flows.up.schedules import announcements, name_all_schedules, pause_schedules, resume_schedules
from flows.up.servers import (
    REPOSITORY,
    Child,
    deploy,
    ensure_work_pool,
    log_file,
    mlflow_server,
    prefect_server,
    worker,
)
from flows.up.services import HOST, announce, pages, shell_file, withdraw
from flows.up.stuck_runs import RunWatch
from storage.local.home import home, mlflow_uri
from storage.local.private_temp import keep_private_temp
from storage.local.services import Services, announced_services
from tasks.errors import RequestError

LOOK_EVERY_S = 1.0
WORKER_PATIENCE_S = 3.0
SERVERS_PATIENCE_S = 3.0


def up(prefect_port: int = 4200, mlflow_port: int = 5000, schedules: bool = True) -> None:
    """Starts everything, prints the addresses and stays until Ctrl-C.

    RequestError when it cannot be started here, ServiceError when a part ends before it was ever well.
    """
    if not (REPOSITORY / "prefect.yaml").is_file():
        raise RequestError(
            f"{REPOSITORY / 'prefect.yaml'}: not found; vidrd up needs a checkout of the project"
        )
    tracking = mlflow_uri()
    ours = not tracking.startswith("http")  # a tracking server that the user named is used, not doubled
    ports = {"--prefect-port": prefect_port} | ({"--mlflow-port": mlflow_port} if ours else {})
    mlflow_url = f"http://{HOST}:{mlflow_port}" if ours else tracking
    services = Services(f"http://{HOST}:{prefect_port}", mlflow_url, os.getpid(), ours)
    with _only_one() as lock, _stopped_by_signals():
        for line in end_marked(home()):
            _say(f"ended what an earlier vidrd up has left: {line}")
        with held_ports(ports) as held:
            os.environ[MARK] = str(home())
            with _guard() as guard:
                _serve(services, _servers(held, tracking), schedules, guard, lock)


def _servers(held: Sequence[socket.socket], store: str) -> list[Child]:
    """Prefect's, and where a second port is held MLflow's over the store."""
    return [prefect_server(held[0]), *(mlflow_server(one, store) for one in held[1:])]


def _serve(
    services: Services, servers: Sequence[Child], schedules: bool, guard: _Guard, lock: UpLock
) -> None:
    """Keeps everything running until a signal comes; RequestError when its home is removed."""
    keeper, watch = Keeper(home(), _say), RunWatch(_say)
    try:
        os.environ |= announce(services)
        _start(keeper, watch, servers, schedules)
        for line in pages(services):
            _say(line)
        for line in announcements():
            _say(f"schedule  {line}")
        _say(f"shells    . {shell_file()}    (for mlflow, and for prefect outside the repository)")
        _say("in another terminal: prefect deployment run build-dataset --watch; Ctrl-C here ends everything")
        watch.start()
        while lock.is_held():
            keeper.look_after()
            guard.look_after()
            keep_private_temp()
            time.sleep(LOOK_EVERY_S)
        raise RequestError(f"VIDRD_HOME: {home()} was removed while vidrd up ran; start it again")
    except KeyboardInterrupt:
        _say("stopping")
    finally:
        withdraw()
        _stop(keeper, watch)


def _start(keeper: Keeper, watch: RunWatch, servers: Sequence[Child], schedules: bool) -> None:
    """Starts the servers, then what needs them, and the worker last: it would take up runs at once."""
    for server in servers:
        keeper.start(server)
    prefect, *others = servers
    keeper.wait_until_healthy(prefect)
    watch.settle("vidrd up ended while it ran")
    ensure_work_pool()
    name_all_schedules()
    deploy()
    resume_schedules() if schedules else pause_schedules()
    keeper.start(worker())
    for server in others:
        keeper.wait_until_healthy(server)


def _stop(keeper: Keeper, watch: RunWatch) -> None:
    """Ends the worker and its runs first, while the server still takes down how they ended, then the rest."""
    family = marked(home())  # taken down while it hangs together: what loses its parent may be found no more
    try:
        watch.stop()
        if "worker" in keeper.names:
            keeper.stop({"worker"}, WORKER_PATIENCE_S)
            end(marked(home(), "worker"), WORKER_PATIENCE_S)
            watch.settle_if_answered("vidrd up was stopped while it ran")
        keeper.stop(keeper.names, SERVERS_PATIENCE_S)
    finally:  # at a second Ctrl-C too
        end(family, SERVERS_PATIENCE_S)
        end_marked(home())


@contextmanager
def _only_one() -> Iterator[UpLock]:
    lock = UpLock()
    if not lock.acquire():
        found, services = holder(), announced_services()
        links = "".join(f"; {line}" for line in pages(services, sys.stderr)) if services else ""
        raise RequestError(
            f"VIDRD_HOME: vidrd up already runs for {home()}"
            f"{f', process {found.pid}' if found else ''}; vidrd down ends it{links}"
        )
    try:
        yield lock
    finally:
        lock.release()


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Ctrl-C (also where a shell had it ignored), SIGTERM and a closed terminal raise KeyboardInterrupt."""
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup asks to go on
        numbers.append(signal.SIGHUP)
    told: list[int] = []

    def interrupt(number: int, _: object) -> None:
        told.append(number)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    except KeyboardInterrupt:  # told again while it was stopping, or before it was up
        if told[-1:] in ([], [signal.SIGINT]):
            raise
        sys.exit(128 + told[-1])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Guard:
    """The process of guard.py, and the pipe by whose end it knows that we are gone."""

    def __init__(self) -> None:
        self._process = self._spawn()

    def look_after(self) -> None:
        """Starts it again when somebody has killed it."""
        if self._process.poll() is not None:
            self._close_pipe()
            with suppress(OSError):  # no disk, memory or process left: the next look tries again
                self._process = self._spawn()

    def stop(self) -> None:
        """Lets it go; it looks once more whether anything is left."""
        self._close_pipe()
        try:
            self._process.wait(timeout=10.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _close_pipe(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()

    def _spawn(self) -> subprocess.Popen[bytes]:
        environment = {name: value for name, value in os.environ.items() if name != MARK}
        with open_log(log_file("guard"), "vidrd up starts its guard") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "flows.up.guard", str(home())],
                cwd=REPOSITORY,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


@contextmanager
def _guard() -> Iterator[_Guard]:
    guard = _Guard()
    try:
        yield guard
    finally:
        guard.stop()


def _say(line: str) -> None:
    tell(line, error=False)
