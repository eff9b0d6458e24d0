"""Why a run failed, in one line: in its log, in the message of its state, and so before whoever watches it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import ParamSpec, TypeVar, get_type_hints

from pydantic import ValidationError

from flows.runs.termination import ended_when_told
from storage.local.visible import visible
from vidrd_model.errors import VidrdError

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def error_line(error: BaseException) -> str | None:
    """The one line of an error that is the user's to mend; None for any other."""
    from flows.profile import one_line

    if isinstance(error, ValidationError):
        return one_line(error)
    if isinstance(error, VidrdError):
        return str(error)
    usage = getattr(error, "format_message", None)  # typer's own: an unknown option, a value of a wrong type
    return usage().replace("Value error, ", "") if usage else None


def reason(error: BaseException) -> str:
    """Any error in one line: ours as they are, a worker's by what it died of, others with their kind."""
    cause = getattr(error, "cause", None)  # of an error that Ray brings from a worker
    if isinstance(cause, BaseException):
        return reason(cause)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return visible(error_line(error) or ": ".join([type(error).__name__, *lines[:1]]))


class UnexpectedError(RuntimeError):
    """An error of no kind of ours, in one line; the cause tells the rest."""


def tells_why(work: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Let a flow log the reason of its failure, fail with an error of one line, and end soon when it is told to."""

    @functools.wraps(work)
    def told(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        try:
            with ended_when_told():
                return work(*args, **kwargs)
        except Exception as error:
            from prefect import get_run_logger
            from prefect.exceptions import MissingContextError

            line = reason(error)
            try:
                get_run_logger().error("failed: %s", line)
            except MissingContextError:  # called as a plain function
                raise error from None
            if error_line(error) is None and "\n" in str(error).strip():
                raise UnexpectedError(line) from error
            raise

    # Prefect reads the parameters' types from here, where the flow's module is not at hand to look names up in.
    told.__annotations__ = get_type_hints(work)
    told.__signature__ = inspect.signature(work, eval_str=True)  # type: ignore[attr-defined]
    return told
