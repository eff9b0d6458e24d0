"""How a command of the terminal runs a flow: checked first, told in lines, ended with JSON or one line."""

from __future__ import annotations

import logging
import os
import signal
from importlib import import_module
from typing import Any

from flows.environment import prepare
from flows.runs.failures import error_line
from flows.surroundings import check_surroundings
from flows.terminal import tell
from tasks.errors import RequestError
from tasks.guard import guard_children


def print_json(result: Any) -> None:
    """What a command found or did, for eyes and machines."""
    from storage.local.json_files import to_json

    tell(to_json(result, indent=2, default=str), error=False)


def run_flow(module_name: str, flow_name: str, params_name: str, **values: Any) -> None:
    """Checks the request, runs the flow, prints its result as JSON; what is None keeps the flow's default."""
    prepare()
    # The terminal is for our own progress lines; what went on in detail is in the Prefect run.
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
    check_surroundings()
    module = import_module(f"flows.{module_name}.flow")
    given = {name: value for name, value in values.items() if value is not None}
    params = getattr(module, params_name)(**given)
    module.check(params)
    start_prefect()
    from prefect import tags

    from flows.up.run_processes import process_tag

    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).addFilter(lambda record: not _is_told_in_one_line(record))
    with tags(process_tag()):  # by it vidrd up tells whether the run lives
        result = getattr(module, flow_name)(params)
    print_json({name: value for name, value in result.items() if name != "curves"})  # those are in MLflow


def start_prefect() -> None:
    """Reaches the Prefect server, starting one for this command where none is set up."""
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


def _is_told_in_one_line(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return isinstance(error, Exception) and error_line(error) is not None
