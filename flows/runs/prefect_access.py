"""How our processes sign in to Prefect: at our own servers with their secrets, which go nowhere else."""

from __future__ import annotations

import os
import secrets

from storage.local.secret_files import known_secret
from storage.local.services import USER, prefect_auth, running_services

# No page in a browser is of this origin: an ephemeral server has none.
_NO_ORIGIN = "none"


def sign_in() -> None:
    """Makes Prefect's settings in this process those of the server that it talks to."""
    from prefect.context import refresh_global_settings_context
    from prefect.settings import get_current_settings

    settings = get_current_settings()
    if changed := environment(settings.api.url, settings.server.api.auth_string is not None):
        os.environ |= changed
        refresh_global_settings_context()


def environment(api_url: str | None, server_has_secret: bool) -> dict[str, str]:
    """What has to be set for a Prefect client whose address, if any, is `api_url`.

    Without an address a running `vidrd up` is used. Where there is none, Prefect may start an ephemeral server for a
    program that runs a flow in this repository: it gets a secret that nobody else knows, unless `server_has_secret`. A
    secret of ours that an environment still holds for another address is taken out.
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
