"""Where everything the project makes lies: `$VIDRD_HOME`, else a folder that is the same wherever one stands."""

import os
from contextlib import suppress
from pathlib import Path

from storage.errors import StorageError
from storage.local.dry_run import scratch
from storage.local.typed_paths import as_typed, typed_path

_PACKAGES = Path(__file__).resolve().parents[2]


def home() -> Path:
    """The absolute folder that holds datasets, models, weights, logs and demos; it need not exist yet.

    Without `$VIDRD_HOME` it is `runs/` of the checkout whose code this is, else the platform's folder for data.
    StorageError when the variable is no local folder.
    """
    text = os.environ.get("VIDRD_HOME")
    if not text:
        return _default_home()
    if "://" in text:
        raise StorageError(f"VIDRD_HOME: {text} is an address; databases and locks need a local folder")
    try:
        return typed_path(text).absolute()
    except ValueError as error:
        raise StorageError(f"VIDRD_HOME: {error}") from error


def home_of_the_new() -> Path:
    """Where what is missing below `home` is made: there, and in a dry run in the folder that goes with it."""
    return scratch() or home()


def set_home(folder: Path) -> None:
    """Makes a folder the home of this process and of all that it starts, wherever they work."""
    os.environ["VIDRD_HOME"] = as_typed(folder.absolute())


def weights_dir() -> Path:
    """Gives the cache of downloaded weights."""
    return home() / "weights"


def mlflow_database() -> Path:
    """MLflow's database where no `$MLFLOW_TRACKING_URI` names another."""
    return home() / "mlflow" / "mlflow.db"


def prefect_database() -> Path:
    """Prefect's database where its settings name no other."""
    return Path(os.environ.get("PREFECT_HOME") or home() / "prefect") / "prefect.db"


def mlflow_uri() -> str:
    """Gives the MLflow tracking address: `$MLFLOW_TRACKING_URI`, else an SQLite file, made here but for a dry run."""
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if uri:
        return uri
    database = mlflow_database()
    if scratch() is not None:
        return f"sqlite:///{database}"
    database.parent.mkdir(parents=True, exist_ok=True)
    with suppress(OSError):  # it is there, or MLflow says why it cannot be
        # For this user alone: MLflow keeps the keys of its gateway in it. SQLite's files beside it get its mode.
        os.close(os.open(database, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    return f"sqlite:///{database}"


def mlflow_artifacts() -> Path:
    """Tells where models and figures of MLflow runs are kept when no server decides it."""
    return home() / "mlflow" / "artifacts"


def _default_home() -> Path:
    if (_PACKAGES / "pyproject.toml").is_file():  # a checkout: an installed package has none beside it
        runs = _PACKAGES / "runs"
        if os.access(runs if runs.exists() else _PACKAGES, os.W_OK | os.X_OK):
            return runs
    import platformdirs

    try:
        return platformdirs.user_data_path("vidrd", appauthor=False).expanduser().absolute()
    except RuntimeError as error:
        raise StorageError(
            "VIDRD_HOME: this user has no home folder; name a folder for all that is kept"
        ) from error
