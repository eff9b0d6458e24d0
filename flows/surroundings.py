"""What a run needs around it, asked before it begins: the Ray cluster and the databases."""

from __future__ import annotations

import os

from storage.local.databases import check_database, check_sqlite
from storage.local.home import mlflow_database, prefect_database
from tasks.cluster_checks import check_cluster

PREFECT_DATABASES = ("PREFECT_SERVER_DATABASE_CONNECTION_URL", "PREFECT_API_DATABASE_CONNECTION_URL")


def check_surroundings() -> None:
    """RequestError or StorageError, one line that names the variable or file, for what would end a run later."""
    check_cluster()
    check_database("MLFLOW_TRACKING_URI", os.environ.get("MLFLOW_TRACKING_URI", ""))
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        check_sqlite(mlflow_database())


def check_prefect_database() -> None:
    """StorageError, as above, where the database of the Prefect server that is to be started cannot be used."""
    for variable in PREFECT_DATABASES:
        check_database(variable, os.environ.get(variable, ""))
    if not any(os.environ.get(name) for name in PREFECT_DATABASES):
        check_sqlite(prefect_database())
