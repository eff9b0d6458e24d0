"""The MLflow server of `vidrd up` behind the rules of flows/up/access.py.

`python -m flows.up.mlflow_app PORT SOCKET` serves on an inherited socket of that number, which has the port.
The address of its store comes in `$MLFLOW_BACKEND_STORE_URI`, since arguments are everybody's to read.
"""

from __future__ import annotations

import os
import sys

from flows.environment import prepare
from flows.up.access import Access
from flows.up.login import Login
from flows.up.services import HOST
from flows.up.serving import serve
from storage.local.home import mlflow_artifacts
from storage.local.secret_files import secret
from storage.local.services import USER
from storage.registry.mlflow_server import mlflow_application

_OPEN_PATHS = frozenset({"/health"})


def main(port: int, descriptor: int) -> None:
    """Serves until a signal ends it."""
    address = f"http://{HOST}:{port}"
    login = Login("mlflow", secret("mlflow"))
    prepare()
    store = os.environ["MLFLOW_BACKEND_STORE_URI"]
    application = mlflow_application(address, store, mlflow_artifacts().as_uri())
    serve(Access(application, address, f"{USER}:{login.secret}", login, _OPEN_PATHS), descriptor, "warning")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
