"""The ports of our servers, and the proxies between this machine and others."""

from __future__ import annotations

import os
import socket
import urllib.request
from collections.abc import Iterable

from flows.doctor.finding import Finding
from flows.environment import let_loopback_pass
from flows.up.default_ports import MLFLOW_PORT, PREFECT_PORT
from flows.up.services import HOST
from storage.local.addresses import without_secrets
from storage.local.services import announced_services

_PORTS = (("--prefect-port", PREFECT_PORT), ("--mlflow-port", MLFLOW_PORT))
"""The options of `vidrd up`, and what they are by default."""


def ports() -> Iterable[Finding]:
    """Whether `vidrd up` could listen where it does by default."""
    services = announced_services()
    if services is not None:
        yield Finding("ports", "ok", f"vidrd up listens at {services.prefect} and {services.mlflow}")
        return
    for option, port in _PORTS:
        try:
            socket.create_server((HOST, port)).close()
        except OSError as error:
            yield Finding(
                f"port {port}",
                "note",
                f"cannot be used: {error.strerror}",
                f"name another: vidrd up {option} PORT",
            )
        else:
            yield Finding(f"port {port}", "ok", f"free, for vidrd up {option}")


def proxies() -> Iterable[Finding]:
    """The proxies that requests take, which those to this machine pass by."""
    let_loopback_pass()
    found = {name: address for name, address in urllib.request.getproxies().items() if name != "no"}
    if not found:
        yield Finding("proxies", "ok", "none")
        return
    told = ", ".join(f"{name} {without_secrets(address)}" for name, address in sorted(found.items()))
    if not all(urllib.request.proxy_bypass(host) for host in (HOST, "localhost")):
        yield Finding(
            "proxies", "problem", f"{told}; for 127.0.0.1 too", "add 127.0.0.1,localhost to NO_PROXY"
        )
        return
    yield Finding("proxies", "ok", f"{told}; not for {os.environ.get('NO_PROXY', '')}")
