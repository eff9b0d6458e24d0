"""Who hears how a training goes, in the process that waits for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class TrainingWatcher(Protocol):
    """Hears of a training as it goes; after a restart the steps since the last checkpoint come again."""

    def started(self, step: int) -> None:
        """The first step that is done now: 0, or where the training goes on."""
        ...

    def figures(self, points: Sequence[tuple[int, dict[str, float]]]) -> None:
        """Figures of steps: loss, lr, gradient_norm; now and then steps_per_s, data_wait, memory_gib, heldout.loss."""
        ...

    def video(self, step: int, name: str, mp4: bytes) -> None:
        """A sample video after so many steps; its prompt and seed are always the same."""
        ...
