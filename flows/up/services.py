"""What a running `vidrd up` tells others: where it listens, and, to this user only, how to sign in."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TextIO

from flows.up.login import Login
from storage.local.addresses import without_secrets
from storage.local.home import home
from storage.local.secret_files import secret, write_private
from storage.local.services import USER, Services, state_file
from vidrd_model.errors import VidrdError

HOST = "127.0.0.1"


class ServiceError(VidrdError):
    """A server or the deployment of the flows failed; one line that names the log."""


def client_environment(services: Services) -> dict[str, str]:
    """What a process needs to reach both servers; the user's own MLflow server has no secret of ours."""
    environment = {
        "PREFECT_API_URL": services.prefect_api,
        "PREFECT_API_AUTH_STRING": f"{USER}:{secret('prefect')}",
        "MLFLOW_TRACKING_URI": services.mlflow,
    }
    if services.own_mlflow:
        environment |= {"MLFLOW_TRACKING_USERNAME": USER, "MLFLOW_TRACKING_PASSWORD": secret("mlflow")}
    return environment


def announce(services: Services) -> dict[str, str]:
    """Writes where the servers will be: for our clients (`up.json`) and, with the secrets, for shells (`up.env`).

    Returns the environment that this process and its children need. From now on, and not before, the secrets go to
    these addresses.
    """
    environment = client_environment(services)
    for name in ("prefect", "mlflow"):
        Login(name, secret(name)).forget_links()
    lines = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    write_private(shell_file(), "\n".join(lines) + "\n")
    shown = replace(services, mlflow=without_secrets(services.mlflow))
    write_private(state_file(), json.dumps(asdict(shown)))
    return environment


def withdraw() -> None:
    """Removes what `announce` wrote."""
    state_file().unlink(missing_ok=True)
    shell_file().unlink(missing_ok=True)


def shell_file() -> Path:
    """The file that sets up a shell of this user: `. $VIDRD_HOME/up.env`."""
    return home() / "up.env"


def pages(services: Services, shown_on: TextIO = sys.stdout) -> list[str]:
    """A line for each server with a link that opens its pages once; without links where nobody looks on (a log)."""
    shown_to_a_person = shown_on.isatty()
    lines = []
    for name, title, address, ours in (
        ("prefect", "Prefect", services.prefect, True),
        ("mlflow", "MLflow", services.mlflow, services.own_mlflow),
    ):
        can_link = ours and shown_to_a_person
        shown = Login(name, secret(name)).new_link(address) if can_link else without_secrets(address)
        lines.append(f"{title:9} {shown}")
    if not shown_to_a_person:
        lines.append("links that sign a browser in: `vidrd up` once more, in a terminal")
    return lines
