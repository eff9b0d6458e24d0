"""The application of an MLflow server with its own sign-in, as `mlflow server --app-name basic-auth` makes it."""

import os
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from storage.local.secret_files import secret, secrets_dir, write_private
from storage.local.services import USER

Application = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]],
    Awaitable[None],
]


def mlflow_application(address: str, backend_store_uri: str, artifact_root: str) -> Application:
    """Makes the ASGI application that is served at `address`; its one user is `vidrd` with the secret `mlflow`.

    Made here and not by MLflow's command: that takes the store's address, which may hold a password, as an argument of
    a process, and starts two processes more for jobs that nobody runs.
    """
    password = secret("mlflow")
    os.environ |= {
        "MLFLOW_AUTH_CONFIG_PATH": str(_write_auth_settings()),
        "MLFLOW_AUTH_ADMIN_USERNAME": USER,
        "MLFLOW_AUTH_ADMIN_PASSWORD": password,
        "MLFLOW_BASIC_AUTH_FAIL_CLOSED": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secret("mlflow-forms"),
        "MLFLOW_SERVER_ALLOWED_HOSTS": address.split("//", 1)[1],
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": address,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    os.environ.pop("MLFLOW_TRACKING_URI", None)  # that address is ours: the server would ask itself
    from mlflow.environment_variables import _MLFLOW_SGI_NAME
    from mlflow.server import ARTIFACT_ROOT_ENV_VAR, BACKEND_STORE_URI_ENV_VAR, REGISTRY_STORE_URI_ENV_VAR
    from mlflow.server.handlers import initialize_backend_stores

    os.environ |= {
        _MLFLOW_SGI_NAME.name: "uvicorn",
        BACKEND_STORE_URI_ENV_VAR: backend_store_uri,
        REGISTRY_STORE_URI_ENV_VAR: backend_store_uri,
        ARTIFACT_ROOT_ENV_VAR: artifact_root,
    }
    initialize_backend_stores(backend_store_uri, backend_store_uri, artifact_root)
    from mlflow.server import auth

    application: Application = auth.create_app()
    if not auth.store.authenticate_user(USER, password):  # the secret was made anew
        auth.store.update_user(USER, password=password)
    return application


def _write_auth_settings() -> Path:
    database = str(secrets_dir() / "mlflow-users.db").replace("%", "%%")
    path = secrets_dir() / "mlflow-auth.ini"
    lines = [
        "[mlflow]",
        "default_permission = NO_PERMISSIONS",
        f"database_uri = sqlite:///{database}",
        "auth_cache_ttl_seconds = 300",  # else every request costs a tenth of a second of hashing
    ]
    write_private(path, "\n".join(lines) + "\n")
    return path
