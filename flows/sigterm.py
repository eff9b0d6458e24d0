"""SIGTERM while Ray waits: what asks a flow to end has to reach it.

Prefect's handler raises TerminationSignal. In the middle of a call into Ray that is swallowed: Ray lets nothing but
KeyboardInterrupt and SystemExit out of a signal handler. So the exception is made one of the former as well, and a flow
that Ray has interrupted raises it again, by which Prefect knows a cancellation from a crash.
"""

from __future__ import annotations

from typing import Any

_heard: BaseException | None = None


def let_sigterm_through_ray() -> None:
    """Has Prefect's handler of SIGTERM raise what Ray lets through; where Prefect has moved it, nothing changes."""
    from prefect.exceptions import TerminationSignal
    from prefect.utilities import engine

    if getattr(engine, "TerminationSignal", None) is not TerminationSignal:
        return

    class PassingTerminationSignal(TerminationSignal, KeyboardInterrupt):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            global _heard
            super().__init__(*args, **kwargs)
            _heard = self

    engine.TerminationSignal = PassingTerminationSignal  # type: ignore[misc, attr-defined]


def heard_sigterm() -> BaseException | None:
    """What a SIGTERM has raised in this process, if one came."""
    return _heard
