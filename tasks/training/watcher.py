"""What a training tells those who wait for it, while it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class TrainingWatcher(Protocol):
    """Hears of a training's course; called in the process that waits for it, in a thread of its own."""

    def started(self, step: int) -> None:
        """The training begins: 0, or the step of the checkpoint that it goes on from."""
        ...

    def figures(self, points: Sequence[tuple[int, dict[str, float]]]) -> None:
        """The figures of some steps, by name, ascending; after a restart steps may come again."""
        ...

    def video(self, step: int, name: str, mp4: bytes) -> None:
        """A sample video made after `step` steps; the same name has the same prompt and seed at every step."""
        ...
