"""The ports of our servers: taken by whoever starts them, and handed on, so that they are never anybody else's.

A port that is free for a moment, while a server imports what it needs or is started again, is one that another user
of the machine can take: our clients would tell him the secret.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from flows.up.services import HOST
from tasks.errors import RequestError


@contextmanager
def held_ports(ports: Mapping[str, int]) -> Iterator[list[socket.socket]]:
    """Holds the ports, listening, while the block runs: a server started in it serves on a socket of these.

    Who connects while no server is there waits for the next one. RequestError names the option of a port that is
    another's too, or that cannot be served on.
    """
    options: dict[int, str] = {}
    for option, port in ports.items():
        if port in options:
            raise RequestError(f"{option}: {port} is {options[port]} too; name another")
        options[port] = option
    with ExitStack() as held:
        yield [held.enter_context(_listening(option, port)) for option, port in ports.items()]


def port_of(held: socket.socket) -> int:
    """The number of a held port."""
    return int(held.getsockname()[1])


def _listening(option: str, port: int) -> socket.socket:
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        what = "is taken" if error.errno == errno.EADDRINUSE else "cannot be used"
        raise RequestError(f"{option}: {HOST}:{port} {what} ({error.strerror}); name another") from error
