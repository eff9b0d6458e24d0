"""How the project reaches MLflow: a quiet client, and its exceptions as one line of ours."""

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from storage.errors import StorageError
from storage.local.dry_run import scratch
from storage.local.services import mlflow_sign_in

_SQLITE = "sqlite:///"


def mlflow_client(uri: str) -> mlflow.MlflowClient:
    """Makes a client of an MLflow address, which is also made the one that `mlflow` itself talks to.

    In a dry run a database is read from a copy: opening one brings its tables to MLflow's version, or makes them.
    """
    uri = _sign_in(_copied(uri))
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    given = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    if given is None:
        # MLflow has put the address into the environment, where it would outlive a change of $VIDRD_HOME.
        os.environ.pop("MLFLOW_TRACKING_URI", None)
    mlflow.set_registry_uri(uri)
    return mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)


def _copied(uri: str) -> str:
    """The address of a copy of an SQLite database, an empty one where there is none yet; others as they are."""
    folder = scratch()
    if folder is None or not uri.startswith(_SQLITE):
        return uri
    database, copy = Path(uri.removeprefix(_SQLITE)), folder / "mlflow.db"
    if database.is_file() and not copy.exists():
        source = sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)
        with closing(source), closing(sqlite3.connect(copy)) as target:
            source.backup(target)
    return f"{_SQLITE}{copy}"


def _sign_in(uri: str) -> str:
    """Sets how MLflow signs in at an address, and returns that without a name and password: MLflow prints addresses."""
    plain, auth = mlflow_sign_in(uri)
    if auth:
        os.environ |= {"MLFLOW_TRACKING_USERNAME": auth[0], "MLFLOW_TRACKING_PASSWORD": auth[1]}
    elif os.environ.get("MLFLOW_TRACKING_PASSWORD"):  # our own server's, from an earlier call
        del os.environ["MLFLOW_TRACKING_PASSWORD"]
        os.environ.pop("MLFLOW_TRACKING_USERNAME", None)
    return plain


def is_missing(error: Exception) -> bool:
    """Tells whether MLflow says that what was asked for does not exist."""
    # The SQLite store calls a missing alias an invalid parameter, a server a resource that does not exist.
    code = getattr(error, "error_code", "")
    not_found = code == "INVALID_PARAMETER_VALUE" and "not found" in str(error)
    return not_found or code == "RESOURCE_DOES_NOT_EXIST"


def first_line(uri: str, error: Exception) -> str:
    """MLflow's complaint with its address, on one line."""
    return f"MLflow at {uri}: {str(error).splitlines()[0]}"


@contextmanager
def one_line_errors(uri: str) -> Iterator[None]:
    """Turns MLflow's exceptions, and those of its database, into ours."""
    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:
        raise StorageError(first_line(uri, error)) from error
