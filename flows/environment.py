"""The surroundings that every entry point needs before Prefect, Ray or MLflow is imported."""

import os
from pathlib import Path

from storage.home import home, set_home
from tasks.errors import RequestError

# No library calls home, and a slow machine gets the time that the ephemeral Prefect server needs to start. Threads
# that wait for one another spin for a moment only: by default they take a busy machine's cores from the others.
_DEFAULTS = {
    "DIFFUSERS_VERBOSITY": "error",
    "DO_NOT_TRACK": "1",
    "GOMP_SPINCOUNT": "2000",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "300",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",  # seconds, the least: vidrd up waits for eight before it gives a run up
    "RAY_USAGE_STATS_ENABLED": "0",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
}


def prepare() -> None:
    """Sets what the user has not set: quiet libraries, and Prefect's own files under `$VIDRD_HOME`.

    A Prefect profile that the user has made (say, of a shared server) stays in force. RequestError or StorageError
    when `$VIDRD_HOME` cannot be made.
    """
    set_home(home())  # flow runs and workers stand in folders of their own
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    if "PREFECT_HOME" not in os.environ:
        prefect_home = home() / "prefect"
        try:
            prefect_home.mkdir(parents=True, exist_ok=True)  # Prefect itself makes the last folder only
        except OSError as error:
            raise RequestError(f"VIDRD_HOME: {home()} cannot be used: {error.strerror}") from error
        os.environ["PREFECT_HOME"] = str(prefect_home)
        profiles = Path.home() / ".prefect" / "profiles.toml"
        if profiles.is_file():
            os.environ.setdefault("PREFECT_PROFILES_PATH", str(profiles))
