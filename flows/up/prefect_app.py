"""The Prefect server of `vidrd up` behind the rules of flows/up/access.py.

`python -m flows.up.prefect_app PORT SOCKET` serves on an inherited socket of that number, which has the port.
It is what `prefect server start` starts, with its schedulers and background services, in one process.
"""

from __future__ import annotations

import json
import os
import sys

from flows.environment import prepare
from flows.up.access import Access, Application, Message, Receive, Scope, Send
from flows.up.login import Login
from flows.up.services import HOST
from flows.up.serving import serve
from storage.local.secret_files import secret
from storage.local.services import USER

_OPEN_PATHS = frozenset({"/api/health"})


def main(port: int, descriptor: int) -> None:
    """Serves until a signal ends it. No secret comes as an argument, since those are everybody's to read."""
    address = f"http://{HOST}:{port}"
    login = Login("prefect", secret("prefect"))
    auth = f"{USER}:{login.secret}"
    os.environ |= {
        "PREFECT_SERVER_API_AUTH_STRING": auth,
        "PREFECT_API_AUTH_STRING": auth,
        "PREFECT_API_URL": f"{address}/api",
        "PREFECT_SERVER_API_HOST": HOST,
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": address,
    }
    prepare()
    from prefect.server.api.server import create_app
    from prefect.settings import get_current_settings

    server = get_current_settings().server
    serve(
        protected(create_app(final=True), address, auth, login),
        descriptor,
        server.logging_level.lower(),
        timeout_keep_alive=server.api.keepalive_timeout,
        ws_ping_interval=server.api.websocket_ping_interval,
        ws_ping_timeout=server.api.websocket_ping_timeout,
    )


def protected(app: Application, address: str, auth: str, login: Login) -> Access:
    """Prefect's application as it is served at an address to those who know `auth`, user:secret."""
    return Access(_WithoutPrompt(app), address, auth, login, _OPEN_PATHS)


class _WithoutPrompt:
    """Prefect's pages ask for the secret where `ui-settings` says that there is one; ours have the cookie instead."""

    def __init__(self, app: Application) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/ui-settings":
            await self._app(scope, receive, send)
            return
        start: Message = {}
        body = b""

        async def keep(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                start = message
            else:
                body += message.get("body", b"")

        plain = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
        await self._app({**scope, "headers": plain}, receive, keep)
        if start["status"] == 200:
            body = json.dumps({**json.loads(body), "auth": None}).encode()
        headers = [(name, value) for name, value in start["headers"] if name != b"content-length"]
        await send({**start, "headers": [*headers, (b"content-length", str(len(body)).encode())]})
        await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
