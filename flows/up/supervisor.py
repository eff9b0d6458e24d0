"""Prefect server, MLflow server and one worker on 127.0.0.1, until interrupted: `vidrd up`.

The servers keep their data under `$VIDRD_HOME`, so what runs without them and what runs with them shows up
in the same place. Their output is in `$VIDRD_HOME/logs`.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from flows.up.servers import (
    REPOSITORY,
    Child,
    deploy,
    ensure_work_pool,
    mlflow_server,
    prefect_server,
    worker,
)
from flows.up.services import HOST, ServiceError, Services, running_services, state_file
from storage.home import home, mlflow_uri
from tasks.errors import RequestError

START_TIMEOUT_S = 600.0
STOP_TIMEOUT_S = 15.0


@dataclass(frozen=True)
class _Running:
    child: Child
    process: subprocess.Popen[bytes]


def check(prefect_port: int, mlflow_port: int) -> None:
    """RequestError when the servers cannot be started here."""
    if not (REPOSITORY / "prefect.yaml").is_file():
        raise RequestError(
            f"{REPOSITORY / 'prefect.yaml'}: not found; vidrd up needs a checkout of the project"
        )
    if found := running_services():
        raise RequestError(f"vidrd up already runs for {home()}: {found.prefect}, process {found.pid}")
    for option, port in (("--prefect-port", prefect_port), ("--mlflow-port", mlflow_port)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError as error:
                raise RequestError(
                    f"{option}: {HOST}:{port} is taken ({error.strerror}); name another"
                ) from error


def up(prefect_port: int = 4200, mlflow_port: int = 5000) -> None:
    """Starts everything, prints the addresses and stays until Ctrl-C; ServiceError when a part dies."""
    check(prefect_port, mlflow_port)
    tracking = mlflow_uri()
    ours = not tracking.startswith("http")  # a tracking server that the user named is used, not doubled
    mlflow_url = f"http://{HOST}:{mlflow_port}" if ours else tracking
    services = Services(f"http://{HOST}:{prefect_port}", mlflow_url, os.getpid())
    os.environ |= {
        "PREFECT_API_URL": services.prefect_api,
        "MLFLOW_TRACKING_URI": services.mlflow,
    }
    for stop in (signal.SIGINT, signal.SIGTERM):  # also where a shell started us with Ctrl-C ignored
        signal.signal(stop, signal.default_int_handler)
    running: list[_Running] = []
    try:
        running.append(_start(prefect_server(prefect_port)))
        if ours:
            running.append(_start(mlflow_server(mlflow_port, tracking)))
        _wait_until_healthy(running[0], running)
        ensure_work_pool()
        deploy()
        running.append(_start(worker()))
        for server in running:
            _wait_until_healthy(server, running)
        state_file().write_text(json.dumps(asdict(services)), encoding="utf-8")
        _say(f"Prefect   {services.prefect}    (export PREFECT_API_URL={services.prefect_api})")
        _say(f"MLflow    {services.mlflow}    (export MLFLOW_TRACKING_URI={services.mlflow})")
        _say("in another terminal: prefect deployment run build-dataset --watch; Ctrl-C here ends everything")
        while True:
            _wait_for_end(running, 5.0)
    except KeyboardInterrupt:
        _say("stopping")
    finally:
        state_file().unlink(missing_ok=True)
        _stop(running)


def _say(line: str) -> None:
    print(line, flush=True)


def _start(child: Child) -> _Running:
    """Starts a child in a session of its own, so that Ctrl-C reaches only us and we end it."""
    child.log.parent.mkdir(parents=True, exist_ok=True)
    _say(f"starting {child.name}, log in {child.log}")
    with child.log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *child.arguments],
            cwd=REPOSITORY,
            env=os.environ | child.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return _Running(child, process)


def _wait_until_healthy(server: _Running, running: Iterable[_Running]) -> None:
    if server.child.health_url is None:
        return
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline_s:
        try:
            with urllib.request.urlopen(server.child.health_url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            _wait_for_end(running, 0.5)
    name, log = server.child.name, server.child.log
    raise ServiceError(f"{name} did not answer within {START_TIMEOUT_S:.0f} s; see {log}")


def _wait_for_end(running: Iterable[_Running], seconds: float) -> None:
    """Waits on the children for about that long in all; ServiceError when one of them has ended."""
    children = list(running)
    for one in children:
        try:
            code = one.process.wait(timeout=seconds / len(children))
        except subprocess.TimeoutExpired:
            continue
        raise ServiceError(f"{one.child.name} ended with code {code}; see {one.child.log}")


def _stop(running: Iterable[_Running]) -> None:
    """Ends our children and theirs: asked first, the worker before the servers, then without asking."""
    import psutil

    for one in reversed(list(running)):
        try:
            family = [
                psutil.Process(one.process.pid),
                *psutil.Process(one.process.pid).children(recursive=True),
            ]
        except psutil.NoSuchProcess:
            continue
        one.process.terminate()
        _, left = psutil.wait_procs(family, timeout=STOP_TIMEOUT_S)
        for process in left:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        one.process.wait()
