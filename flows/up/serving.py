"""How our servers serve: on a socket that whoever started them has taken (flows/up/ports.py)."""

from __future__ import annotations

import socket
import sys

import uvicorn

from flows.up.access import Access
from flows.up.services import HOST

STARTUP_FAILURE = 3  # uvicorn's exit code


def serve(app: Access, descriptor: int, log_level: str, **options: float) -> None:
    """Serves on an inherited socket until a signal ends it; options are uvicorn's.

    Requests are not logged, which would tell links' tokens.
    """
    config = uvicorn.Config(
        app,
        host=HOST,
        log_level=log_level,
        access_log=False,
        **options,  # type: ignore[arg-type]
    )
    server = uvicorn.Server(config)
    server.run(sockets=[socket.socket(fileno=descriptor)])
    if not server.started:
        sys.exit(STARTUP_FAILURE)
