"""Brings what a training says on Ray to the process that waits for it."""

from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ray.util.queue import Queue

from tasks.progress import OnProgress
from tasks.training.progress import Figures
from tasks.training.watcher import TrainingWatcher

_log = logging.getLogger(__name__)


class QueuedReports:
    """A worker's end: what the first rank says travels through a queue, what the others say goes nowhere."""

    def __init__(self, queue: Queue | None) -> None:
        self._queue = queue

    def started(self, step: int) -> None:
        """The first step that is done now."""
        self._put("started", step)

    def figures(self, points: Sequence[tuple[int, Figures]]) -> None:
        """Figures of steps."""
        self._put("figures", list(points))

    def video(self, step: int, name: str, mp4: bytes) -> None:
        """A sample video after so many steps."""
        self._put("video", step, name, mp4)

    def _put(self, *message: Any) -> None:
        if self._queue is not None:
            self._queue.put(message)


@contextmanager
def heard_by(
    watcher: TrainingWatcher | None, on_progress: OnProgress | None, steps: int
) -> Iterator[Queue | None]:
    """A queue whose messages reach the watcher and `on_progress`, in a thread of its own, all before the block ends."""
    queue = Queue(actor_options={"num_cpus": 0})

    def listen() -> None:
        while (message := queue.get()) is not None:
            what, *values = message
            try:
                if watcher is not None:
                    getattr(watcher, what)(*values)
                if what == "figures" and on_progress is not None:
                    step, figures = values[0][-1]
                    on_progress(step + 1, steps, f"loss {figures['loss']:.4f}")
            except Exception:
                # A tracking server that is away for an hour must not cost a week's training.
                _log.warning("%s could not be recorded", what, exc_info=True)

    # The context of the caller tells Prefect which run the progress belongs to.
    thread = threading.Thread(target=contextvars.copy_context().run, args=(listen,), daemon=True)
    thread.start()
    try:
        yield queue
    finally:
        queue.put(None)
        thread.join(timeout=60)
        queue.shutdown()
