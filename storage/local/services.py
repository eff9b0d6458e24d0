"""Where a running `vidrd up` answers: the state file under `$VIDRD_HOME`, and to which addresses its secrets go."""

import json
import os
import socket
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

import psutil

from storage.local.home import home
from storage.local.secret_files import known_secret

USER = "vidrd"  # the name that goes with the secret of either server


@dataclass(frozen=True)
class Services:
    """Where a running `vidrd up` listens, and its process id; `own_mlflow` is false where the user named a server."""

    prefect: str
    mlflow: str
    pid: int
    own_mlflow: bool = True

    @property
    def prefect_api(self) -> str:
        return f"{self.prefect}/api"


def state_file() -> Path:
    """Gives the file in which a running `vidrd up` says where it listens."""
    return home() / "up.json"


def announced_services() -> Services | None:
    """Gives the `vidrd up` that runs for this `$VIDRD_HOME`, whether or not its servers answer at the moment."""
    try:
        services = Services(**json.loads(state_file().read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    # Of an `up` that was killed only the file is left, and its ports may be anybody's by now.
    return services if _is_ours(services.pid) else None


def running_services() -> Services | None:
    """Gives the `vidrd up` that runs for this `$VIDRD_HOME`, if its Prefect server answers."""
    services = announced_services()
    if services is None:
        return None
    server = urllib.parse.urlsplit(services.prefect)
    try:
        with socket.create_connection((server.hostname, server.port), timeout=1):
            return services
    except OSError:
        return None


def prefect_auth(api_url: str) -> str | None:
    """Gives the auth string of the Prefect server at that address; None where it is not the one of our `vidrd up`."""
    services = announced_services()
    if services is None or api_url.rstrip("/") != services.prefect_api:
        return None
    secret = known_secret("prefect")
    return f"{USER}:{secret}" if secret else None


def mlflow_sign_in(uri: str) -> tuple[str, tuple[str, str] | None]:
    """Gives an MLflow address without what signs in there, and the name and password that do; None where none do.

    The password of our own server goes there and to no other address, whoever holds it. What stands in an address goes
    before what the environment says.
    """
    password = _own_mlflow_password(uri)
    if password is not None:
        return uri, (USER, password)
    parts = urllib.parse.urlsplit(uri)
    if parts.scheme in ("http", "https") and parts.password is not None:
        plain = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        return plain, (urllib.parse.unquote(parts.username or ""), urllib.parse.unquote(parts.password))
    given = os.environ.get("MLFLOW_TRACKING_PASSWORD")
    if given and given != known_secret("mlflow"):
        return uri, (os.environ.get("MLFLOW_TRACKING_USERNAME", ""), given)
    return uri, None


def _own_mlflow_password(uri: str) -> str | None:
    """The password of the MLflow server at that address; None where it is not the one of our `vidrd up`."""
    services = announced_services()
    if services is None or not services.own_mlflow or uri.rstrip("/") != services.mlflow:
        return None
    return known_secret("mlflow")


def _is_ours(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).uids().real == os.getuid())
    except psutil.Error:
        return False
