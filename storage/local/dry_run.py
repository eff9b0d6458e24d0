"""A dry run: while it lasts this process leaves nothing behind, under `$VIDRD_HOME` or elsewhere.

What has to be there to read a request (the database of a registry, a model of a server, the generated world) is made in
a folder that goes with it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

_scratch: ContextVar[Path | None] = ContextVar("scratch", default=None)


@contextmanager
def writing_nothing() -> Iterator[None]:
    """Makes what goes on within a dry run."""
    with tempfile.TemporaryDirectory(prefix="vidrd-dry-run-") as folder:
        token = _scratch.set(Path(folder))
        try:
            yield
        finally:
            _scratch.reset(token)


def scratch() -> Path | None:
    """The folder that goes with the dry run; None where this is none, and what is written stays."""
    return _scratch.get()
