"""How our processes sign in to Prefect: at our own servers with their secrets, which go nowhere else."""

from __future__ import annotations

import logging
import os
import secrets
import subprocess
import sys
from typing import Any

from flows.up.ports import port_of, reserved_port
from flows.up.prefect_app import EPHEMERAL
from storage.local.secret_files import known_secret
from storage.local.services import USER, prefect_auth, running_services

# No page in a browser is of this origin: an ephemeral server has none.
_NO_ORIGIN = "none"


def sign_in() -> None:
    """Makes Prefect's settings in this process those of the server that it talks to or will start."""
    from prefect.context import refresh_global_settings_context
    from prefect.settings import get_current_settings

    settings = get_current_settings()
    if changed := environment(settings.api.url, settings.server.api.auth_string is not None):
        os.environ |= changed
        refresh_global_settings_context()
    if not get_current_settings().api.url:
        _guard_ephemeral_servers()


def environment(api_url: str | None, server_has_secret: bool) -> dict[str, str]:
    """What has to be set for a Prefect client whose address, if any, is `api_url`.

    Without an address a running `vidrd up` is used, else Prefect starts an ephemeral server for this process, which
    gets a secret that nobody else knows, unless `server_has_secret`. A secret of ours that an environment still holds
    for another address is taken out.
    """
    found: dict[str, str] = {}
    if not api_url and (services := running_services()):
        api_url = found["PREFECT_API_URL"] = services.prefect_api
    if not api_url:
        return {} if server_has_secret else _ephemeral_server()
    if auth := prefect_auth(api_url):
        return found | {"PREFECT_API_AUTH_STRING": auth}
    if (ours := known_secret("prefect")) and os.environ.get("PREFECT_API_AUTH_STRING") == f"{USER}:{ours}":
        del os.environ["PREFECT_API_AUTH_STRING"]
    return found


def _ephemeral_server() -> dict[str, str]:
    auth = f"{USER}:{secrets.token_urlsafe(32)}"
    return {
        "PREFECT_SERVER_API_AUTH_STRING": auth,
        "PREFECT_API_AUTH_STRING": auth,
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": _NO_ORIGIN,
    }


def _guard_ephemeral_servers() -> None:
    """Lets Prefect start its ephemeral servers behind our access rules.

    Where a later Prefect starts them by another method, the secret alone has to hold.
    """
    from prefect.server.api.server import SubprocessASGIServer

    if hasattr(SubprocessASGIServer, "_run_uvicorn_command"):
        SubprocessASGIServer._run_uvicorn_command = _run_guarded_server  # type: ignore[method-assign, assignment]
    else:
        logging.getLogger(__name__).debug("Prefect's ephemeral server starts in its own way")


def _run_guarded_server(server: Any) -> subprocess.Popen[Any]:
    from prefect.settings import get_current_settings

    settings = get_current_settings().to_environment_variables(exclude_unset=True)
    # Taken before anybody can read its number among the arguments. It does not listen yet: Prefect's wait takes a
    # server that answers, but not at once, for a failure.
    with reserved_port(server.port) as reserved:
        server.port = port_of(reserved)
        arguments = (str(server.port), str(reserved.fileno()), EPHEMERAL)
        return subprocess.Popen(
            [sys.executable, "-m", "flows.up.prefect_app", *arguments],
            env=os.environ | settings | {"PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"},
            pass_fds=(reserved.fileno(),),
        )
