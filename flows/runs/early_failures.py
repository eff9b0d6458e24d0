"""A run that fails before its flow begins says why, too.

Its parameters are none of the flow's, say, or the flow cannot be imported. Prefect's engine then logs the error and
ends with exit code 1, and that code is all that its worker knows to tell.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from uuid import UUID

from flows.runs.failures import reason

_ENGINE_LOG = "prefect.engine"


def tell_early_failures(run: UUID) -> None:
    """Has this process, the one of a run, make a failed run of what the engine ends by."""
    logger = logging.getLogger(_ENGINE_LOG)
    if not any(isinstance(one, _Failures) for one in logger.filters):
        logger.addFilter(_Failures(run))  # no handler: Prefect takes those off when it sets up its logs


class _Failures(logging.Filter):
    """Hears of all that the engine logs, and lets all of it pass."""

    def __init__(self, run: UUID) -> None:
        super().__init__()
        self._run = run

    def filter(self, record: logging.LogRecord) -> bool:
        """An interrupt is none of our errors. Where the server is away the worker tells the exit code."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, Exception):
            with suppress(Exception):
                _fail(self._run, _line(error))
        return True


def _line(error: Exception) -> str:
    from prefect.exceptions import SignatureMismatchError

    if isinstance(error, SignatureMismatchError):
        return f"parameters: {error}; all settings of a run go into params"
    return reason(error)


def _fail(run: UUID, line: str) -> None:
    from prefect.client.orchestration import get_client
    from prefect.logging.loggers import flow_run_logger
    from prefect.states import Failed

    with get_client(sync_client=True) as client:
        flow_run = client.read_flow_run(run)
        if flow_run.state is not None and (flow_run.state.is_final() or flow_run.state.is_cancelling()):
            return
        flow_run_logger(flow_run).error("failed: %s", line)
        client.set_flow_run_state(run, Failed(message=line))
