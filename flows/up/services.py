"""Where a running `vidrd up` answers: the state file under `$VIDRD_HOME`, and how others find the servers."""

from __future__ import annotations

import json
import socket
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

from storage.home import home

HOST = "127.0.0.1"


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
        services = Services(**json.loads(state_file().read_text(encoding="utf-8")))
        server = urllib.parse.urlsplit(services.prefect)
        with socket.create_connection((server.hostname, server.port), timeout=1):
            return services
    except (OSError, ValueError, TypeError):
        return None


def state_file() -> Path:
    """The file in which a running `vidrd up` says where it listens."""
    return home() / "up.json"
