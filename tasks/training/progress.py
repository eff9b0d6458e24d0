"""How far a training has come, with all its figures: what a checkpoint keeps beside weights and optimizer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypedDict

Figures = dict[str, float]
Points = list[tuple[int, Figures]]
"""Figures of steps by name, steps ascending."""


class SkippedStep(TypedDict):
    """A step that left the weights alone: what was not finite in it, and the clips it came from.

    Of a loss they are the clips whose own loss it was; of a gradient, all of the step.
    """

    step: int
    not_finite: Literal["loss", "gradient"]
    clips: list[str]


@dataclass
class Progress:
    """What changes from step to step beside the tensors.

    `curves` have one value for each step, `figures` are all others, by step; they may be infinite or NaN.
    """

    step: int = 0
    bad_steps: int = 0
    skipped: list[SkippedStep] = field(default_factory=list)
    heldout: dict[str, Figures] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    curves: dict[str, list[float]] = field(
        default_factory=lambda: {"loss": [], "lr": [], "gradient_norm": []}
    )
    figures: dict[str, dict[int, float]] = field(default_factory=dict)

    @property
    def all_were_skipped(self) -> bool:
        """Whether no step at all has changed the weights."""
        return len(self.skipped) == self.step

    def skip(self, not_finite: Literal["loss", "gradient"], clips: list[str]) -> None:
        """Note that the step under way changes nothing."""
        self.bad_steps += 1
        self.skipped.append({"step": self.step, "not_finite": not_finite, "clips": clips})

    def end_step(self, curves: Figures, more: Figures) -> None:
        """Keep the step's figures and go on to the next one."""
        for name, value in curves.items():
            self.curves[name].append(value)
        self.step += 1
        self.add(more)

    def add(self, figures: Figures) -> None:
        """Keep further figures of the step that has ended last."""
        for name, value in figures.items():
            self.figures.setdefault(name, {})[self.step - 1] = value

    def points(self, first: int, end: int) -> Points:
        """All figures of the steps from `first` on, before `end`."""
        return points(self.curves, self.figures, range(first, min(end, self.step)))


def points(curves: dict[str, list[float]], figures: dict[str, dict[int, float]], steps: range) -> Points:
    """Curves and further figures, put together by step."""
    return [
        (
            step,
            {name: values[step] for name, values in curves.items()}
            | {name: by_step[step] for name, by_step in figures.items() if step in by_step},
        )
        for step in steps
    ]
