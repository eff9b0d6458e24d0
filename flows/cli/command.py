"""How a command of the terminal runs a flow: read first, told in lines, ended with JSON or one line."""

from __future__ import annotations

import logging
import os
import signal
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from flows.environment import prepare
from flows.runs.failures import error_line
from flows.runs.read_once import read_before
from flows.runs.server import server_address
from flows.surroundings import check_surroundings
from flows.terminal import tell
from storage.local.json_files import to_json
from tasks.errors import RequestError
from tasks.guard import guard_children

_WORK = {"retrain": "training"}
"""The module of a flow's package that does its work, where it is not `run`."""


def print_json(result: Any) -> None:
    """What a command found or did, for eyes and machines."""
    tell(to_json(result, indent=2, default=str), error=False)


def run_flow(name: str, **values: Any) -> None:
    """Reads the request, does what the flow does, prints its result as JSON; what is None keeps the flow's default.

    Where a Prefect server is set up the flow itself is run, so that the server records it. Without one the same work is
    done in this process: Prefect is neither imported nor started.
    """
    prepare()
    check_surroundings()
    work = f"flows.{name}.{_WORK.get(name, 'run')}"
    if find_spec(work) is None:  # FIXME: until every flow has its request.py and run.py
        _print_result(_run_whole_flow(name, values))
        return
    asked = import_module(f"flows.{name}.request")
    params = getattr(asked, _params_class(name))(**_given(values))
    request = asked.read_request(params)
    address = server_address()
    if address is None:
        _print_result(import_module(work).run(request))
        return
    os.environ["PREFECT_API_URL"] = address  # should it go away meanwhile, Prefect starts none of its own
    start_prefect()
    flow = getattr(import_module(f"flows.{name}.flow"), name)
    with read_before(params, request):
        _print_result(_recorded(flow, params))


def start_prefect() -> None:
    """Reaches the Prefect server, starting one for this command where none is set up."""
    # The terminal is for our own progress lines; what went on in detail is in the Prefect run.
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL

    from flows.runs.prefect_access import sign_in

    guard_children()
    sign_in()
    # The command's own server must not hear the terminal's Ctrl-C: it takes down how the interrupted run ended.
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with get_client(sync_client=True) as client:
            problem = client.api_healthcheck()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    if problem is not None:
        raise RequestError(
            f"PREFECT_API_URL: no Prefect server answers at {PREFECT_API_URL.value()} ({problem}); "
            "start it, or unset the variable"
        )


def _run_whole_flow(name: str, values: dict[str, Any]) -> dict[str, Any]:
    module = import_module(f"flows.{name}.flow")
    params = getattr(module, _params_class(name))(**_given(values))
    module.check(params)
    start_prefect()
    return _recorded(getattr(module, name), params)


def _recorded(flow: Any, params: Any) -> dict[str, Any]:
    """Runs a Prefect flow in this process; what the run's log says of an error of ours is said once, by the command."""
    from prefect import tags

    from flows.up.run_processes import process_tag

    for logger in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(logger).addFilter(lambda record: not _is_told_in_one_line(record))
    with tags(process_tag()):  # by it vidrd up tells whether the run lives
        result: dict[str, Any] = flow(params)
    return result


def _print_result(result: dict[str, Any]) -> None:
    print_json({name: value for name, value in result.items() if name != "curves"})  # those are in MLflow


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _params_class(name: str) -> str:
    """The class of a flow's parameters: `build_dataset` has `BuildDatasetParams`."""
    return "".join(part.title() for part in name.split("_")) + "Params"


def _is_told_in_one_line(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return isinstance(error, Exception) and error_line(error) is not None
