"""The surroundings that every entry point needs before Prefect, Ray or MLflow is imported."""

import getpass
import os
from pathlib import Path

from storage.local.dry_run import scratch
from storage.local.folders import why_unusable
from storage.local.home import home, home_of_the_new, set_home
from storage.local.private_temp import use_private_temp
from storage.local.secret_files import make_private
from tasks.errors import RequestError

# No library calls home. Threads that wait for one another spin for a moment only: by default they take a busy machine's
# cores from the others.
_DEFAULTS = {
    "DIFFUSERS_VERBOSITY": "error",
    "DO_NOT_TRACK": "1",
    "GOMP_SPINCOUNT": "2000",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # `prefect deployment run --watch` shows a run's log, and why it failed, only where the server sends it on.
    "PREFECT_SERVER_LOGS_STREAM_OUT_ENABLED": "true",
    "PREFECT_SERVER_LOGS_STREAM_PUBLISHING_ENABLED": "true",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",  # seconds, the least: vidrd up waits for eight before it gives a run up
    "TOKENIZERS_PARALLELISM": "false",
    # torchao, where it is installed, comes with diffusers and is told of an old way to register its classes.
    "TORCH_LOGS": "-torch.utils._pytree",
    "TRANSFORMERS_VERBOSITY": "error",
}

_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_LOOPBACK = ("127.0.0.1", "localhost")


def prepare() -> None:
    """Sets what the user has not set: quiet libraries, Prefect's own files under `$VIDRD_HOME`, temporary ones shut.

    A Prefect profile that the user has made (say, of a shared server) stays in force. RequestError or StorageError
    when `$VIDRD_HOME` cannot be made.
    """
    set_home(home())  # flow runs and workers stand in folders of their own
    let_loopback_pass()
    use_private_temp()
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    # Its index of fonts: a home that cannot be written to would be told of at every chart.
    os.environ.setdefault("MPLCONFIGDIR", str(home() / "matplotlib"))
    if "PREFECT_HOME" not in os.environ:
        os.environ["PREFECT_HOME"] = str(_prefect_home())
        profiles = os.path.expanduser("~/.prefect/profiles.toml")
        if os.path.isfile(profiles):
            os.environ.setdefault("PREFECT_PROFILES_PATH", profiles)
    _be_somebody()


def _prefect_home() -> Path:
    """The folder of Prefect's own files, which nobody else may enter; a dry run only asks whether it could be made."""
    folder = home() / "prefect"
    if scratch() is not None:
        problem = why_unusable(folder)
        if problem is not None:
            raise RequestError(f"VIDRD_HOME: {problem}")
        return folder
    try:
        make_private(folder)  # in its database lies the key of its secret blocks
    except OSError as error:
        raise RequestError(f"VIDRD_HOME: {home()} cannot be used: {error.strerror}") from error
    return folder


def let_loopback_pass() -> None:
    """Keeps a proxy from what runs on this machine; everything else goes its way as the user has set it."""
    if not any(os.environ.get(name) or os.environ.get(name.upper()) for name in _PROXIES):
        return
    # The lower one is read first, and where it is set the upper one is not read at all.
    passed = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    names = [name.strip() for name in passed.split(",") if name.strip()]
    if "*" not in names:
        names += [name for name in _LOOPBACK if name not in names]
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(names)


def _be_somebody() -> None:
    """Gives a user without a home folder or a name, as containers have them, what libraries ask for."""
    folder = os.path.expanduser("~")
    if folder in ("~", "/") or not os.path.isdir(folder):
        own = home_of_the_new() / "home"
        own.mkdir(exist_ok=True)
        os.environ["HOME"] = str(own)
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["USER"] = f"uid-{os.getuid()}"
