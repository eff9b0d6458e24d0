"""How far a training has come, with all its figures, and what it says of steps that were not finite.

A checkpoint keeps it beside weights and optimizer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypedDict

from tasks.training.settings import TrainingSettings
from tasks.training.splits import name_clips

_SHOWN_STEPS = 16

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
    """Holds what changes from step to step beside the tensors.

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
        """Notes that the step under way changes nothing."""
        self.bad_steps += 1
        self.skipped.append({"step": self.step, "not_finite": not_finite, "clips": clips})

    def end_step(self, curves: Figures, more: Figures) -> None:
        """Keeps the step's figures and goes on to the next one."""
        for name, value in curves.items():
            self.curves[name].append(value)
        self.step += 1
        self.add(more)

    def add(self, figures: Figures) -> None:
        """Keeps further figures of the step that has ended last."""
        for name, value in figures.items():
            self.figures.setdefault(name, {})[self.step - 1] = value

    def points(self, first: int, end: int) -> Points:
        """Returns all figures of the steps from `first` on, before `end`."""
        return points(self.curves, self.figures, range(first, min(end, self.step)))


def points(curves: dict[str, list[float]], figures: dict[str, dict[int, float]], steps: range) -> Points:
    """Puts curves and further figures together by step."""
    return [
        (
            step,
            {name: values[step] for name, values in curves.items()}
            | {name: by_step[step] for name, by_step in figures.items() if step in by_step},
        )
        for step in steps
    ]


def or_float32(settings: TrainingSettings) -> str:
    """Returns the end of an advice: a higher precision, where the settings do not have it yet."""
    return "" if settings.precision == "float32" else ', or set precision = "float32"'


def why_it_ends(progress: Progress, settings: TrainingSettings) -> str:
    """Says in one line which skipped steps end a training: losses or gradients, of which clips, and what helps.

    Clips are named where some of a step's have losses that are not finite; where all have, or only the gradient is
    not finite, it is not the clips.
    """
    advice = f"lower lr (it is {settings.lr:g}){or_float32(settings)}"
    last = progress.skipped[-progress.bad_steps :]
    steps = f"{len(last)} steps in a row, up to step {last[-1]['step']}"
    gradients = [step for step in last if step["not_finite"] == "gradient"]
    if len(gradients) == len(last):
        return f"the gradient was not finite in {steps}, though every loss was; {advice}"
    what = "the loss" if not gradients else f"the loss, in {len(gradients)} of them only the gradient,"
    suspects = dict.fromkeys(
        clip_id
        for step in last
        if step["not_finite"] == "loss" and len(step["clips"]) < settings.batch_size
        for clip_id in step["clips"]
    )
    if not suspects:
        return f"{what} was not finite in {steps}, for every clip; {advice}"
    return f"{what} was not finite in {steps} (clips {name_clips(list(suspects))}); look at these clips, or {advice}"


def name_skipped(skipped: list[SkippedStep]) -> str:
    """Names skipped steps in one line, with what was not finite and their clips; of many, the first."""
    first = [
        f"step {step['step']} ({step['not_finite']}): {name_clips(step['clips'])}"
        for step in skipped[:_SHOWN_STEPS]
    ]
    more = [f"{len(skipped) - _SHOWN_STEPS} more"] if len(skipped) > _SHOWN_STEPS else []
    return "; ".join(first + more)
