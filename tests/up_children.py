"""Small real processes for the tests of what `vidrd up` keeps, and a `vidrd up` without servers that keeps them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from flows.up.processes import MARK
from flows.up.servers import Child

ROOT = Path(__file__).resolve().parents[1]

# Starts a sleeper in a session of its own, says its number and sleeps itself.
FAMILY = (
    "import subprocess, sys, time;"
    "one = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True);"
    "print(one.pid, flush=True); time.sleep(600)"
)
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(600)"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def web_server(name: str = "web", port: int | None = None) -> Child:
    """A child that answers, as the servers of `vidrd up` do."""
    port = port or free_port()
    return Child(name, ("http.server", str(port), "--bind", "127.0.0.1"), f"http://127.0.0.1:{port}/")


def server_on(held: socket.socket) -> Child:
    """A child that answers on a socket that it inherits, as the servers of `vidrd up` do."""
    url = f"http://127.0.0.1:{held.getsockname()[1]}/"
    return Child("held", ("tests.inheriting_server", str(held.fileno())), url, serves_on=held)


def start_family(home: Path, code: str = FAMILY, **environment: str) -> tuple[subprocess.Popen[str], int]:
    """Runs code that prints a number as a `vidrd up` of this home would; gives the process and the number."""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | {MARK: str(home)} | environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def wait_until(holds: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Waits for something to hold; fails when it does not in time."""
    deadline_s = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline_s, "it never came to hold"
        time.sleep(0.05)


def runs(pid: int) -> bool:
    """Whether a process runs; the remains of one that nobody has asked about do not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
