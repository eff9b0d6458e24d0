"""What a training tells while it goes on, and how that gets from its workers to the process that waits for it."""

from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from ray.util.queue import Queue

from tasks.progress import OnProgress
from tasks.training.progress import Points

_log = logging.getLogger(__name__)


class TrainingWatcher(Protocol):
    """Hears of a training's course.

    The engine calls the one of its worker; `forwarded` passes on what the first worker says, and calls the watcher of
    the process that waits in a thread of its own.
    """

    def started(self, step: int) -> None:
        """Hears that the training begins: 0, or the step of the checkpoint that it goes on from."""
        ...

    def figures(self, points: Points) -> None:
        """Hears the figures of some steps, by name, ascending; after a restart steps may come again."""
        ...

    def video(self, step: int, name: str, mp4: bytes) -> None:
        """Hears of a sample video made after `step` steps; the same name has the same prompt and seed at every step."""
        ...


class QueuedWatcher:
    """A worker's watcher: puts what the first worker says into a queue; that of the others (None) drops it."""

    def __init__(self, queue: Queue | None) -> None:
        self._queue = queue

    def started(self, step: int) -> None:
        """Passes on the first step that is done now."""
        self._put("started", step)

    def figures(self, points: Points) -> None:
        """Passes on the figures of some steps."""
        self._put("figures", points)

    def video(self, step: int, name: str, mp4: bytes) -> None:
        """Passes on a sample video."""
        self._put("video", step, name, mp4)

    def _put(self, *message: Any) -> None:
        if self._queue is not None:
            self._queue.put(message)


@contextmanager
def forwarded(watcher: TrainingWatcher | None, on_progress: OnProgress | None, steps: int) -> Iterator[Queue]:
    """Gives a queue whose messages reach the watcher and `on_progress`, in a thread, all before the block ends."""
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
