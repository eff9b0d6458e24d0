"""What of the cluster or the machine can be asked before Ray is imported and anything is started."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import suppress

from tasks.errors import RequestError

_ANSWER_S = 5.0
_own_session: str | None = None


def joins_cluster() -> bool:
    """Whether `$RAY_ADDRESS` names a cluster, so that no session is started here."""
    return os.environ.get("RAY_ADDRESS", "") not in ("", "local")


def uses_cluster() -> bool:
    """Whether work goes to Ray however little it is: a cluster is named, or somebody else's session is joined already.

    One that `ensure_ray` started for this process is no reason. Ray is not imported here.
    """
    if joins_cluster():
        return True
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return False
    return bool(ray.get_runtime_context().gcs_address != _own_session)


def note_own_session(address: str | None) -> None:
    """Keeps the address of the session that this process has started for itself."""
    global _own_session
    _own_session = address


def check_cluster() -> None:
    """RequestError when `$RAY_ADDRESS` names a cluster that does not answer or wants a token that is not there.

    Ray itself would try for six minutes. Nothing is imported or started here.
    """
    address = os.environ.get("RAY_ADDRESS", "")
    if not joins_cluster():
        return
    if os.environ.get("RAY_AUTH_MODE") == "token":
        _check_token()
    if address == "auto":
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    host = host.strip("[]")
    if not (host and port.isdigit() and 0 < int(port) < 65536) or "/" in host:
        raise RequestError(
            f"RAY_ADDRESS: {address!r} is no address of a cluster; write HOST:PORT or ray://HOST:PORT"
        )
    try:
        with socket.create_connection((host, int(port)), timeout=_ANSWER_S) as connection:
            speaks = os.environ.get("RAY_USE_TLS", "0") != "0" or _speaks_http2(connection)
    except OSError as error:
        reason = error.strerror or str(error)
        raise RequestError(
            f"RAY_ADDRESS: no Ray cluster answers at {address} ({reason}); start it, or unset the variable"
        ) from error
    if not speaks:
        raise RequestError(
            f"RAY_ADDRESS: what answers at {address} is no Ray cluster; its usual port is 6379"
        )


def check_gpus_here(field: str, gpus: int) -> None:
    """RequestError when a session on this machine would lack GPUs; of a cluster that is joined nothing is known yet."""
    if not gpus or joins_cluster():
        return
    import torch

    there = torch.cuda.device_count()
    if there < gpus:
        raise RequestError(
            f"{field}: {gpus} workers need one GPU each, this machine has {there}; use another profile, "
            "or name a cluster in RAY_ADDRESS"
        )


def _speaks_http2(connection: socket.socket) -> bool:
    """Whether the other side greets as HTTP/2 does (RFC 9113, 3.4), over which Ray's processes speak: gRPC."""
    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)))
    head = b""
    with suppress(TimeoutError):
        while len(head) < 9 and (part := connection.recv(9 - len(head))):
            head += part
    return head[3:4] == b"\x04"  # a frame of settings


def _check_token() -> None:
    path = os.environ.get("RAY_AUTH_TOKEN_PATH") or os.path.expanduser("~/.ray/auth_token")
    if not os.environ.get("RAY_AUTH_TOKEN") and not os.path.isfile(path):
        raise RequestError(
            f"RAY_AUTH_TOKEN: missing, and there is no file {path}; RAY_AUTH_MODE=token asks for the cluster's token"
        )


def check_device_here(device: str | None) -> None:
    """RequestError when this machine lacks the device that models are to run on; a cluster is not asked."""
    if device is None or device == "cpu" or joins_cluster():
        return
    import torch

    kind, _, number = device.partition(":")
    there = torch.cuda.device_count() if kind == "cuda" else int(torch.backends.mps.is_available())
    if int(number or 0) >= there:
        raise RequestError(
            f"device: there is no {device} here ({there} of its kind); leave it out, or say cpu"
        )
