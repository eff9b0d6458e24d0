"""The ports that `vidrd up` is asked to serve on, checked before anything starts."""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping

from flows.up.services import HOST
from tasks.errors import RequestError


def check_ports(ports: Mapping[str, int]) -> None:
    """RequestError names the option of a port that is another's too, or that cannot be served on."""
    options: dict[int, str] = {}
    for option, port in ports.items():
        if port in options:
            raise RequestError(f"{option}: {port} is {options[port]} too; name another")
        options[port] = option
    for option, port in ports.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError as error:
                what = "is taken" if error.errno == errno.EADDRINUSE else "cannot be used"
                raise RequestError(
                    f"{option}: {HOST}:{port} {what} ({error.strerror}); name another"
                ) from error
