"""What a training says of losses and gradients that are not finite, and what to change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.training.unusable import named

if TYPE_CHECKING:
    from tasks.training.progress import Progress, SkippedStep
    from tasks.training.settings import TrainingSettings

_NAMED = 16


def or_precision(settings: TrainingSettings) -> str:
    """More bits, where there are more to be had."""
    return "" if settings.precision == "float32" else ', or set precision = "float32"'


def what_was_bad(progress: Progress, settings: TrainingSettings) -> str:
    """One line on the skipped steps that end a training: whether losses or gradients, of which clips, and what helps.

    Clips are named where some of a step's have losses that are not finite; where all have, or only the gradient is
    not finite, it is not the clips.
    """
    advice = f"lower lr (it is {settings.lr:g}){or_precision(settings)}"
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
    return (
        f"{what} was not finite in {steps} (clips {named(list(suspects))}); look at these clips, or {advice}"
    )


def in_one_line(skipped: list[SkippedStep]) -> str:
    """The skipped steps with what was not finite and their clips, the first of them where there are many."""
    first = [
        f"step {step['step']} ({step['not_finite']}): {named(step['clips'])}" for step in skipped[:_NAMED]
    ]
    more = [f"{len(skipped) - _NAMED} more"] if len(skipped) > _NAMED else []
    return "; ".join(first + more)
