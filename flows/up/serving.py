"""How our servers take their port and serve on it."""

from __future__ import annotations

import socket
import sys

from flows.up.access import Access
from flows.up.services import HOST

STARTUP_FAILURE = 3  # uvicorn's exit code


def listen(port: int) -> socket.socket:
    """Takes the port, before the seconds that a server's imports need: nobody else can answer in its place.

    Who connects meanwhile waits.
    """
    return socket.create_server((HOST, port))


def serve(app: Access, port: int, listening: socket.socket | None, log_level: str, **options: float) -> None:
    """Serves until a signal ends it; options are uvicorn's. Requests are not logged, which would tell links' tokens."""
    import uvicorn

    config = uvicorn.Config(
        app,
        host=HOST,
        port=port,
        log_level=log_level,
        access_log=False,
        **options,  # type: ignore[arg-type]
    )
    server = uvicorn.Server(config)
    server.run(sockets=None if listening is None else [listening])
    if not server.started:
        sys.exit(STARTUP_FAILURE)
