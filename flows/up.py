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
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from storage.home import home, mlflow_artifacts, mlflow_uri
from tasks.errors import RequestError

HOST = "127.0.0.1"
WORK_POOL = "vidrd"
REPOSITORY = Path(__file__).resolve().parents[1]
START_TIMEOUT_S = 600.0
STOP_TIMEOUT_S = 15.0


@dataclass(frozen=True)
class Services:
    """Where a running `vidrd up` listens, and its process id."""

    prefect: str
    mlflow: str
    pid: int

    @property
    def prefect_api(self) -> str:
        return f"{self.prefect}/api"


class ServiceError(Exception):
    """A server or the deployment of the flows failed; one line that names the log."""


def running_services() -> Services | None:
    """The `vidrd up` that runs for this `$VIDRD_HOME`, if its state file names a server that answers."""
    try:
        services = Services(**json.loads(_state_file().read_text(encoding="utf-8")))
        server = urllib.parse.urlsplit(services.prefect)
        with socket.create_connection((server.hostname, server.port), timeout=1):
            return services
    except (OSError, ValueError, TypeError):
        return None


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
        "VIDRD_HOME": str(home()),  # absolute, since flow runs change their working directory
        "PREFECT_API_URL": services.prefect_api,
        "MLFLOW_TRACKING_URI": services.mlflow,
    }
    for stop in (signal.SIGINT, signal.SIGTERM):  # also where a shell started us with Ctrl-C ignored
        signal.signal(stop, signal.default_int_handler)
    children: dict[str, subprocess.Popen[bytes]] = {}
    try:
        children["prefect"] = _start(
            "prefect", ["server", "start", "--host", HOST, "--port", str(prefect_port)]
        )
        if ours:
            children["mlflow"] = _start(
                "mlflow",
                [
                    *("server", "--host", HOST, "--port", str(mlflow_port), "--workers", "1"),
                    *("--backend-store-uri", tracking),
                    *("--no-serve-artifacts", "--default-artifact-root", mlflow_artifacts().as_uri()),
                ],
            )
        _wait_until_healthy(f"{services.prefect_api}/health", "prefect", children)
        ensure_work_pool()
        _deploy()
        children["worker"] = _start("prefect", ["worker", "start", "--pool", WORK_POOL], log="worker")
        _wait_until_healthy(f"{services.mlflow}/health", "mlflow", children)
        _state_file().write_text(json.dumps(asdict(services)), encoding="utf-8")
        _say(f"Prefect   {services.prefect}    (export PREFECT_API_URL={services.prefect_api})")
        _say(f"MLflow    {services.mlflow}    (export MLFLOW_TRACKING_URI={services.mlflow})")
        _say("in another terminal: prefect deployment run build-dataset --watch; Ctrl-C here ends everything")
        _watch(children)
    except KeyboardInterrupt:
        _say("stopping")
    finally:
        _state_file().unlink(missing_ok=True)
        _stop(children)


def _state_file() -> Path:
    return home() / "up.json"


def _log_file(name: str) -> Path:
    return home() / "logs" / f"{name}.log"


def _say(line: str) -> None:
    print(line, flush=True)


def _start(module: str, arguments: list[str], log: str | None = None) -> subprocess.Popen[bytes]:
    """Starts `python -m module` in a session of its own, so that Ctrl-C reaches only us and we end it."""
    path = _log_file(log or module)
    path.parent.mkdir(parents=True, exist_ok=True)
    _say(f"starting {log or module}, log in {path}")
    with path.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _wait_until_healthy(url: str, name: str, children: Mapping[str, subprocess.Popen[bytes]]) -> None:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline_s:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            _wait_for_end(children, 0.5)
    raise ServiceError(f"{name} did not answer within {START_TIMEOUT_S:.0f} s; see {_log_file(name)}")


def _watch(children: Mapping[str, subprocess.Popen[bytes]]) -> None:
    while True:
        _wait_for_end(children, 5.0)


def _wait_for_end(children: Mapping[str, subprocess.Popen[bytes]], seconds: float) -> None:
    """Waits on the children for about that long in all; ServiceError when one of them has ended."""
    for name, child in children.items():
        try:
            code = child.wait(timeout=seconds / len(children))
        except subprocess.TimeoutExpired:
            continue
        raise ServiceError(f"{name} ended with code {code}; see {_log_file(name)}")


def ensure_work_pool() -> None:
    """Makes the process work pool of prefect.yaml on the current Prefect server, unless it is there."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectNotFound
    from prefect.workers.process import ProcessWorker

    with get_client(sync_client=True) as client:
        try:
            client.read_work_pool(WORK_POOL)
        except ObjectNotFound:
            template = ProcessWorker.get_default_base_job_template()
            pool = WorkPoolCreate(name=WORK_POOL, type="process", base_job_template=template)
            client.create_work_pool(pool)


def _deploy() -> None:
    deploy = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    path = _log_file("deploy")
    path.write_text(deploy.stdout + deploy.stderr, encoding="utf-8")
    if deploy.returncode != 0:
        raise ServiceError(f"prefect deploy failed with code {deploy.returncode}; see {path}")


def _stop(children: Mapping[str, subprocess.Popen[bytes]]) -> None:
    """Ends our children and theirs: asked first, the worker before the servers, then without asking."""
    import psutil

    for child in reversed(list(children.values())):
        try:
            family = [psutil.Process(child.pid), *psutil.Process(child.pid).children(recursive=True)]
        except psutil.NoSuchProcess:
            continue
        child.terminate()
        _, left = psutil.wait_procs(family, timeout=STOP_TIMEOUT_S)
        for process in left:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        child.wait()
