"""How a command of the terminal runs a flow: read first, told in lines, ended with JSON or one line."""

from __future__ import annotations

import os
import signal
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from flows.environment import prepare
from flows.runs.server import server_address
from flows.surroundings import check_surroundings
from flows.terminal import tell
from storage.local.json_files import to_json

_WORK = {"retrain": "training"}
"""The module of a flow's package that does its work, where it is not `run`."""


def print_json(result: Any) -> None:
    """Prints what a command found or did, for eyes and machines."""
    tell(to_json(result, indent=2, default=str), error=False)


def run_flow(name: str, **values: Any) -> None:
    """Reads the request, does what the flow does, prints its result as JSON; what is None keeps the flow's default.

    Where a Prefect server is set up the flow itself is run, so that the server records it. Without one the same work is
    done in this process: Prefect is neither imported nor started.
    """
    prepare()
    check_surroundings()
    if (
        find_spec(f"flows.{name}.{_WORK.get(name, 'run')}") is None
    ):  # FIXME: until every flow has its work apart
        return _run_whole_flow(name, values)
    asked = import_module(f"flows.{name}.request")
    given = {name: value for name, value in values.items() if value is not None}
    params = getattr(asked, _params_class(name))(**given)
    request = asked.read_request(params)
    address = server_address()
    if address is None:
        result = import_module(f"flows.{name}.{_WORK.get(name, 'run')}").run(request)
    else:
        # Named, so that Prefect starts no server of its own should this one go away meanwhile. The terminal is for our
        # own progress lines: what went on in detail is in the run.
        os.environ["PREFECT_API_URL"] = address
        os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
        from flows.runs.recorded import run_recorded

        result = run_recorded(name, params, request)
    print_json({name: value for name, value in result.items() if name != "curves"})  # those are in MLflow


def _params_class(name: str) -> str:
    """The class of a flow's parameters: `build_dataset` has `BuildDatasetParams`."""
    return "".join(part.title() for part in name.split("_")) + "Params"


def _run_whole_flow(name: str, values: dict[str, Any]) -> None:
    module = import_module(f"flows.{name}.flow")
    given = {name: value for name, value in values.items() if value is not None}
    params = getattr(module, _params_class(name))(**given)
    module.check(params)
    start_prefect()
    result = getattr(module, name)(params)
    print_json({name: value for name, value in result.items() if name != "curves"})


def start_prefect() -> None:
    """Reaches the Prefect server, starting one for this command where none is set up."""
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
    from prefect.client.orchestration import get_client

    from flows.runs.prefect_access import sign_in
    from tasks.guard import guard_children

    guard_children()
    sign_in()
    # The command's own server must not hear the terminal's Ctrl-C: it takes down how the interrupted run ended.
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with get_client(sync_client=True) as client:
            client.api_healthcheck()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
