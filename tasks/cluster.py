"""The one way in to Ray: the cluster of `$RAY_ADDRESS`, else a quiet session on this machine's loopback."""

import logging
import os
import secrets
import signal
import tempfile
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import ray
from ray._private import utils

from storage.local.private_temp import private_temp
from tasks.cluster_checks import check_cluster, joins_cluster, note_own_session
from tasks.errors import RequestError
from tasks.guard import guard_children

_PROJECT_ROOT = Path(__file__).resolve().parents[1]

_STARTS = 3
_TEMP_DIR_BYTES = 107 - len("/ray/session_2026-11-28_20-43-37_123456_1234567/sockets/plasma_store")
_TOKEN_ENV = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


def ensure_ray(num_cpus: int | None = None) -> None:
    """Connect this process to Ray unless it is already connected; RequestError when `$RAY_ADDRESS` cannot be joined.

    `num_cpus` is the number of CPU slots of a local session (default: the machine's cores); it is ignored
    when `$RAY_ADDRESS` names a cluster, which has sizes of its own.
    """
    check_cluster()
    if ray.is_initialized():
        return
    with _own_sigterm():
        if joins_cluster():
            _join()
            return
        guard_children()
        # Ray would keep one in the user's home, which there may not be.
        if not any(os.environ.get(name) for name in _TOKEN_ENV):
            os.environ[_TOKEN_ENV[0]] = secrets.token_hex(32)
        with _importable_by_workers(), warnings.catch_warnings():
            # Ray forks only to execute another program, which is safe.
            warnings.filterwarnings("ignore", message="lance is not fork-safe")
            _start_local(num_cpus)
        note_own_session(ray.get_runtime_context().gcs_address)


def room_for(each: Mapping[str, float]) -> int:
    """How many workers that take so much of each resource the connected cluster holds at once."""
    return sum(_room_on(node["Resources"], each) for node in ray.nodes() if node["Alive"])


def threads_of(workers: int) -> int:
    """How many threads each of so many workers computes with: `$OMP_NUM_THREADS`, else its share of all CPUs."""
    asked = os.environ.get("OMP_NUM_THREADS")
    return int(asked) if asked else max(1, int(ray.cluster_resources().get("CPU", 1)) // workers)


def check_room(field: str, workers: int, each: Mapping[str, float]) -> None:
    """RequestError when the connected cluster can never hold so many workers: Ray would wait for ever."""
    room = room_for(each)
    if room < workers:
        wanted = " and ".join(f"{amount:g} {kind}" for kind, amount in each.items() if amount)
        raise RequestError(f"{field}: {workers} workers need {wanted} each, Ray has room for {room}")


def shutdown_ray() -> None:
    """Leave Ray and, if the session is ours, end it."""
    ray.shutdown()


def _join() -> None:
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, TimeoutError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        # Ray says the same of a cluster that wants a token as of one that is away, which `check_cluster` has ruled out.
        if os.environ.get("RAY_AUTH_MODE") != "token":
            reason += "; where it asks for a token set RAY_AUTH_MODE=token"
        raise RequestError(f"RAY_ADDRESS: cannot join {os.environ['RAY_ADDRESS']}: {reason}") from error


def _room_on(there: Mapping[str, float], each: Mapping[str, float]) -> int:
    room = []
    for kind, amount in each.items():
        if amount:
            # A worker's part of a GPU is of one GPU: two thirds of each of two are not one more.
            shared = kind == "GPU" and amount < 1
            whole = int(there.get(kind, 0))
            room.append(whole * int(1 / amount + 1e-9) if shared else int(there.get(kind, 0) / amount + 1e-9))
    return min(room, default=0)


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep the process's answer to SIGTERM: Ray's own waits, and makes a crash of what Prefect has cancelled."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before, setter = signal.getsignal(signal.SIGTERM), getattr(utils, "set_sigterm_handler", None)
    utils.set_sigterm_handler = lambda handler: None  # else it is there already while Ray starts
    try:
        yield
    finally:
        if setter is not None:
            utils.set_sigterm_handler = setter
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def _start_local(num_cpus: int | None) -> None:
    """Start a session; again where the machine is too busy for the 30 s that Ray gives its own processes."""
    for attempts_left in reversed(range(_STARTS)):
        children = psutil.Process().children(recursive=True)
        try:
            # "local", because with no address at all Ray would join any session that this machine has running.
            ray.init(
                address="local",
                num_cpus=num_cpus,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _node_ip_address="127.0.0.1",
                _temp_dir=temp_dir(),
            )
            return
        except Exception as error:  # a bare Exception is what Ray raises
            if "timed out during startup" not in str(error) or not attempts_left:
                raise
            for leftover in set(psutil.Process().children(recursive=True)) - set(children):
                with suppress(psutil.NoSuchProcess):
                    leftover.kill()


def temp_dir() -> str:
    """A folder of this user alone, short enough for Ray's sockets, whose paths the kernel limits.

    All that Ray makes in it everybody may write to: who put a socket of his own there would be handed our work.
    """
    chosen = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    with suppress(OSError):
        os.makedirs(chosen, exist_ok=True)
    for folder in (chosen, "/tmp", "/var/tmp", "/dev/shm"):
        if os.access(folder, os.W_OK | os.X_OK):
            private = private_temp(folder)
            if len(os.fsencode(private)) <= _TEMP_DIR_BYTES:
                return f"{private}/ray"
    raise RequestError(
        f"TMPDIR: {chosen} cannot be written to, or is too long for Ray's sockets; set RAY_TMPDIR to a folder of at "
        f"most {_TEMP_DIR_BYTES} characters"
    )


@contextmanager
def _importable_by_workers() -> Iterator[None]:
    """Let workers import the project from anywhere: they inherit `PYTHONPATH` when the session starts."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(_PROJECT_ROOT), before]))
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
