"""A request is read once: the flow that a command starts in its own process works on what the command has read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

Params = TypeVar("Params")
Request = TypeVar("Request")

_read: ContextVar[tuple[Any, Any] | None] = ContextVar("vidrd_request_read_before", default=None)


@contextmanager
def read_before(params: Any, request: Any) -> Iterator[None]:
    """Has `request_of` give `request` for these parameters while the block runs."""
    token = _read.set((params, request))
    try:
        yield
    finally:
        _read.reset(token)


def request_of(params: Params, read_request: Callable[[Params], Request]) -> Request:
    """The request that a command has read of these very parameters, else what `read_request` reads now.

    A flow that another one starts has parameters of its own, and so a request of its own.
    """
    held = _read.get()
    if held is not None and type(held[0]) is type(params) and held[0] == params:
        request: Request = held[1]
        return request
    return read_request(params)
