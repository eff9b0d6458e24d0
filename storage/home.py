"""Where everything the project makes lies: `$VIDRD_HOME`, by default `runs/` in the working directory."""

import os
from pathlib import Path


def home() -> Path:
    """The absolute folder that holds datasets, models, weights, logs and demos."""
    return Path(os.environ.get("VIDRD_HOME") or "runs").absolute()


def weights_dir() -> Path:
    """The cache of downloaded weights."""
    return home() / "weights"


def mlflow_uri() -> str:
    """The MLflow tracking address: `$MLFLOW_TRACKING_URI`, else an SQLite file whose folder is made here."""
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if uri:
        return uri
    database = home() / "mlflow" / "mlflow.db"
    database.parent.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{database}"


def mlflow_artifacts() -> Path:
    """Where models and figures of MLflow runs are kept when no server decides it."""
    return home() / "mlflow" / "artifacts"
