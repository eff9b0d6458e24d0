"""The reason of a failure: one line in the run's log and in the message of its state."""

import pytest
from prefect import flow

from flows.runs.failures import UnexpectedError, reason, tells_why
from tasks.errors import ItemError, RequestError


class _FromWorker(Exception):
    """As Ray brings an error: its text is the worker's traceback, its cause the error itself."""

    def __init__(self, cause: Exception) -> None:
        super().__init__("Traceback (most recent call last):\n  ...\nin a worker")
        self.cause = cause


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (RequestError("dataset: is none"), "dataset: is none"),
        (ItemError("cannot be read", "decode"), "cannot be read"),
        (KeyError("x"), "KeyError: 'x'"),
        (ValueError("\n first\nsecond"), "ValueError: first"),
        (ValueError(), "ValueError"),
        (_FromWorker(RequestError("out of memory")), "out of memory"),
        (_FromWorker(ZeroDivisionError("division by zero")), "ZeroDivisionError: division by zero"),
    ],
    ids=repr,
)
def test_any_error_has_a_line(error, line):
    assert reason(error) == line


@pytest.mark.parametrize(
    ("error", "raised", "line"),
    [
        (RequestError("dataset: is none"), RequestError, "dataset: is none"),
        (ValueError("first\nsecond"), UnexpectedError, "ValueError: first"),
        (_FromWorker(ValueError("lost")), UnexpectedError, "ValueError: lost"),
        (ValueError("lost"), ValueError, "lost"),
    ],
    ids=repr,
)
def test_a_failed_run_tells_it(error, raised, line, prefect_session):
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
    from prefect.logging.handlers import APILogHandler

    @flow
    @tells_why
    def job(number: int = 1) -> None:
        raise error

    state = job(return_state=True)
    with pytest.raises(raised):
        state.result()
    assert state.message.count("\n") == 0 and line in state.message
    APILogHandler().flush()
    with get_client(sync_client=True) as client:
        logs = client.read_logs(
            LogFilter(flow_run_id=LogFilterFlowRunId(any_=[state.state_details.flow_run_id]))
        )
    assert [log.message for log in logs if log.message.startswith("failed: ")] == [f"failed: {reason(error)}"]


def test_called_without_a_run_the_error_stays_as_it_is():
    @tells_why
    def work() -> None:
        raise ValueError("first\nsecond")

    with pytest.raises(ValueError, match="first"):
        work()
