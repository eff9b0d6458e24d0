"""A cancelled run ends as Cancelled, a failed one as Failed: what Prefect's worker would call a crash.

When the process of a run ends before the flow itself has begun, which is where it hears of a cancellation, the worker
calls it crashed for its exit code, whatever was asked for (PrefectHQ/prefect#18453) or has been told
(flows/runs/early_failures.py), and so final.
"""

from __future__ import annotations

import functools
from typing import Any

EXIT_CODE_MESSAGE = "Process exited with status code"


def no_crash_of_cancelled_runs(logger: Any) -> None:
    """Has this process, a worker, leave runs alone that are being cancelled or have told how they ended.

    Where Prefect has moved what is wrapped, such runs pass through Crashed.
    """
    try:
        from prefect.runner._state_proposer import StateProposer

        propose = StateProposer.propose_crashed
    except (ImportError, AttributeError) as error:
        logger.debug("runs cancelled before they begin may be called crashed: %s", error)
        return
    if hasattr(propose, "__wrapped__"):
        return

    @functools.wraps(propose)
    async def propose_crashed(self: Any, flow_run: Any, message: str) -> Any:
        if message.startswith(EXIT_CODE_MESSAGE) and await _needs_no_word(self, flow_run):
            return None
        return await propose(self, flow_run, message)

    StateProposer.propose_crashed = propose_crashed  # type: ignore[method-assign]


async def _needs_no_word(proposer: Any, flow_run: Any) -> bool:
    import httpx
    from prefect.exceptions import PrefectException

    try:
        state = (await proposer._client.read_flow_run(flow_run.id)).state
    except (httpx.HTTPError, PrefectException, AttributeError):
        return False
    return state is not None and (state.is_cancelling() or state.is_final())
