"""What a retraining needs and how long it takes, from a few measured steps: `vidrd retrain --plan`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from flows.retrain.request import RetrainRequest
from tasks import markdown
from tasks.training.estimate import TrainingEstimate, estimate_training

_MEMORY = ("weights", "gradients", "optimizer", "average", "activations")
_SHOWN_AS = {"average": "average (EMA)", "activations": "a step's peak above these"}


def plan(request: RetrainRequest) -> list[TrainingEstimate]:
    """Measures every part of a retraining."""
    return [estimate_training(request.job(part, request.start)) for part in request.parts]


def as_markdown(estimates: list[TrainingEstimate], request: RetrainRequest) -> str:
    """Returns the plan as a table for people, and what it rests on."""
    title = f"Plan of a retraining on {request.dataset_ref}, profile {request.profile.name}"
    lines = [f"# {markdown.text(title)}", ""]
    rows: list[tuple[str, ...]] = []

    def add(name: str, values: Iterable[str]) -> None:
        rows.append((name, *values))

    add("device", [estimate.device for estimate in estimates])
    add("trained parameters", [_millions(estimate.trained_parameters) for estimate in estimates])
    add("frozen parameters", [_millions(estimate.frozen_parameters) for estimate in estimates])
    for name in _MEMORY:
        add(
            f"memory: {_SHOWN_AS.get(name, name)}",
            [_gib(getattr(estimate, f"{name}_bytes")) for estimate in estimates],
        )
    add("memory of a worker, all in all", [_gib(estimate.needed_bytes) for estimate in estimates])
    add("memory of the device", [_gib(estimate.capacity_bytes) for estimate in estimates])
    add("clips to train on", [str(estimate.train_clips) for estimate in estimates])
    add("steps per epoch", [f"{estimate.steps_per_epoch:.1f}" for estimate in estimates])
    add("steps", [str(estimate.steps) for estimate in estimates])
    add("seconds per step", [_seconds(estimate.seconds_per_step) for estimate in estimates])
    add("time of all steps", [_time(estimate.seconds) for estimate in estimates])
    lines += markdown.table(("", *(estimate.part for estimate in estimates)), rows, numbers=True)
    lines += ["", *(f"- {markdown.text(line)}" for line in _notes(estimates, request))]
    return "\n".join(lines) + "\n"


def _notes(estimates: list[TrainingEstimate], request: RetrainRequest) -> list[str]:
    notes = [
        "Memory is that of one worker with its share of a batch; libraries come on top, on a GPU about a GiB.",
        "Steps were measured on one worker with nothing beside it: what workers wait for each other, loading, held-out "
        "clips, sample videos and checkpoints come on top.",
    ]
    for estimate in estimates:
        settings = request.part_settings(estimate.part)
        if estimate.problem is not None:
            notes.append(f"{estimate.part} does not fit: {estimate.problem}")
        elif estimate.needed_bytes > estimate.capacity_bytes:
            notes.append(f"{estimate.part} needs more memory than the device has: lower micro_batch")
        if settings.sharding == "fsdp":
            notes.append(
                f"{estimate.part}: all but the peak is shared out over {settings.num_workers} workers (fsdp)."
            )
    return notes


def _millions(count: int) -> str:
    return f"{count / 1e6:.2f} M"


def _gib(size: int | None) -> str:
    return "unknown" if size is None else f"{size / 2**30:.2f} GiB"


def _seconds(seconds: float | None) -> str:
    return "unknown" if seconds is None else f"{seconds:.2f}"


def _time(seconds: float | None) -> str:
    return "unknown" if seconds is None else str(timedelta(seconds=round(seconds)))
