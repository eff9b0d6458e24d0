"""A flow that a command runs in its own process, recorded by a Prefect server that is there already.

To be imported once the environment names the server: Prefect reads it then.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import Any

from prefect import tags
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL

from flows.runs.failures import error_line
from flows.runs.prefect_access import sign_in
from flows.runs.read_once import read_before
from flows.up.run_processes import process_tag
from tasks.errors import RequestError
from tasks.guard import guard_children


def run_recorded(name: str, params: Any, request: Any) -> dict[str, Any]:
    """Runs the flow of a package on the request that was read of these parameters.

    RequestError when no server answers. What the log says of an error of ours is said once, by the command.
    """
    guard_children()
    sign_in()
    _check_server()
    for logger in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(logger).addFilter(lambda record: not _is_told_in_one_line(record))
    flow = getattr(import_module(f"flows.{name}.flow"), name)
    with read_before(params, request), tags(process_tag()):  # by it vidrd up tells whether the run lives
        result: dict[str, Any] = flow(params)
    return result


def _check_server() -> None:
    with get_client(sync_client=True) as client:
        problem = client.api_healthcheck()
    if problem is not None:
        raise RequestError(
            f"PREFECT_API_URL: no Prefect server answers at {PREFECT_API_URL.value()} ({problem}); "
            "start it, or unset the variable"
        )


def _is_told_in_one_line(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return isinstance(error, Exception) and error_line(error) is not None
