"""Brings the reports of a training on Ray to the process that waits for it."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray.train import UserCallback
from ray.util.queue import Queue

from tasks.progress import OnProgress


class _ForwardReports(UserCallback):
    """Runs in Ray Train's controller: sends every report of rank 0 to the process that waits for the run."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any) -> None:
        self._queue.put((metrics[0]["step"], metrics[0]["loss"]))


@contextmanager
def progress_callbacks(on_progress: OnProgress | None, steps: int) -> Iterator[list[UserCallback]]:
    """Callbacks for Ray Train through which `on_progress` hears of every report, in a thread of its own."""
    if on_progress is None:
        yield []
        return
    queue = Queue(actor_options={"num_cpus": 0})

    def forward() -> None:
        while (report := queue.get()) is not None:
            step, loss = report
            on_progress(step, steps, f"loss {loss:.4f}")

    # The context of the caller tells Prefect which run the progress belongs to.
    thread = threading.Thread(target=contextvars.copy_context().run, args=(forward,), daemon=True)
    thread.start()
    try:
        yield [_ForwardReports(queue)]
    finally:
        queue.put(None)
        thread.join(timeout=30)
        queue.shutdown()
