"""The one way in to Ray: the cluster of `$RAY_ADDRESS`, else a quiet session on this machine's loopback."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PROJECT_ROOT = Path(__file__).resolve().parents[1]

# Read by Ray when it starts. The first two keep it from calling home and from a warning about hidden GPUs;
# the third lets `_node_ip_address` decide the address that everything binds, which it alone does not.
_QUIET_LOOPBACK_ENV = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}

_STARTS = 3


def ensure_ray(num_cpus: int | None = None) -> None:
    """Connect this process to Ray unless it is already connected.

    `num_cpus` is the number of CPU slots of a local session (default: the machine's cores); it is ignored
    when `$RAY_ADDRESS` names a cluster, which has sizes of its own.
    """
    for name, value in _QUIET_LOOPBACK_ENV.items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        return
    if os.environ.get("RAY_ADDRESS"):
        ray.init(log_to_driver=False, logging_level=logging.ERROR)
        return
    with _importable_by_workers(), warnings.catch_warnings():
        # Ray forks only to execute another program, which is safe.
        warnings.filterwarnings("ignore", message="lance is not fork-safe")
        _start_local(num_cpus)


def shutdown_ray() -> None:
    """Leave Ray and, if the session is ours, end it."""
    import ray

    ray.shutdown()


def _start_local(num_cpus: int | None) -> None:
    """Start a session; again where the machine is too busy for the 30 s that Ray gives its own processes."""
    import psutil
    import ray

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
            )
            return
        except Exception as error:  # a bare Exception is what Ray raises
            if "timed out during startup" not in str(error) or not attempts_left:
                raise
            for leftover in set(psutil.Process().children(recursive=True)) - set(children):
                with suppress(psutil.NoSuchProcess):
                    leftover.kill()


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
