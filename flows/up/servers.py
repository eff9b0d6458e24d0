"""What `vidrd up` starts: the command of each server and of the worker, and the deployments."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flows.up.logs import open_log, rotate
from flows.up.ports import port_of
from flows.up.services import HOST, ServiceError
from storage.local.home import home

WORK_POOL = "vidrd"
REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Child:
    """A process that `vidrd up` keeps: its name, the arguments after `python -m`, and where it says that it is well.

    `environment` is added to ours for this process. Secrets travel there: arguments are everybody's to read. A server
    inherits the socket on which it serves.
    """

    name: str
    arguments: tuple[str, ...]
    health_url: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    serves_on: socket.socket | None = None

    @property
    def log(self) -> Path:
        return log_file(self.name)


def prefect_server(serves_on: socket.socket) -> Child:
    """The Prefect server on the loopback."""
    port = port_of(serves_on)
    return Child(
        "prefect",
        ("flows.up.prefect_app", str(port), str(serves_on.fileno())),
        f"http://{HOST}:{port}/api/health",
        # In memory, its default, the leases of concurrency slots end with the server, and with them the runs.
        {"PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem"},
        serves_on,
    )


def mlflow_server(serves_on: socket.socket, backend_store_uri: str) -> Child:
    """The MLflow server on the loopback, over the store that is used without it too."""
    port = port_of(serves_on)
    return Child(
        "mlflow",
        ("flows.up.mlflow_app", str(port), str(serves_on.fileno())),
        f"http://{HOST}:{port}/health",
        {"MLFLOW_BACKEND_STORE_URI": backend_store_uri},
        serves_on,
    )


def worker() -> Child:
    """The Prefect worker that runs the deployments' flows."""
    return Child(
        "worker",
        ("prefect", "worker", "start", "--pool", WORK_POOL),
        environment={
            "VIDRD_RUN_LOG": str(log_file("runs"))
        },  # read by flows/runs/prefect_plugin.py in each run
    )


def log_file(name: str) -> Path:
    """Where the output of a server is kept."""
    return home() / "logs" / f"{name}.log"


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


def deploy() -> None:
    """Deploys prefect.yaml to the current Prefect server; ServiceError names the log when it fails."""
    path = log_file("deploy")
    with open_log(path, "prefect deploy --all") as log:
        done = subprocess.run(
            [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    rotate(path)
    if done.returncode != 0:
        raise ServiceError(f"prefect deploy failed with code {done.returncode}; see {path}")
