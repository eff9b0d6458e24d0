"""Writes the course of a training into its MLflow run while it goes on."""

from __future__ import annotations

import re
from collections.abc import Callable

from flows.terminal import tell
from storage.errors import StorageError
from storage.registry.runs import Run
from tasks.training.progress import Points

_KEPT_POINTS = 100_000  # of a server that is away for days: some ten megabytes


class MlflowWatcher:
    """A TrainingWatcher for one part of a retraining, whose figures are named `PART.NAME`.

    Weeks of training do not end because MLflow is away: its figures are kept and follow with the next ones, a
    sample video is lost. What is still kept in the end has to be taken by `close`.
    """

    def __init__(self, run: Run, part: str) -> None:
        self._run, self._part = run, part
        self._waiting: Points = []
        self._is_away = False

    def started(self, step: int) -> None:
        """Notes on the run where a part went on after an interruption."""
        if step:
            self._try(lambda: self._run.set_tags({f"{self._part}.resumed_at_step": str(step)}))

    def figures(self, points: Points) -> None:
        """Logs the figures of some steps, and what could not be logged before."""
        named = ((step, {f"{self._part}.{name}": v for name, v in values.items()}) for step, values in points)
        self._waiting += named
        self._try(self.close)
        self._waiting = self._waiting[-_KEPT_POINTS:]

    def video(self, step: int, name: str, mp4: bytes) -> None:
        """Keeps a sample video as `samples/PART/step-000200/NAME.mp4` of the run."""
        file = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:100] or "sample"
        path = f"samples/{self._part}/step-{step:06d}/{file}.mp4"
        self._try(lambda: self._run.log_bytes(path, mp4))

    def close(self) -> None:
        """Logs what waits; StorageError when MLflow is still away."""
        self._run.log_metrics(self._waiting)
        self._waiting = []

    def _try(self, write: Callable[[], None]) -> None:
        try:
            write()
        except StorageError as error:
            if not self._is_away:
                tell(f"[retrain {self._part}] {error}; training goes on")
            self._is_away = True
        else:
            self._is_away = False
