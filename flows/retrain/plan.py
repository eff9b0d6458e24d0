"""What a retraining needs and how long it takes, from a few measured steps: `vidrd retrain --plan`."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from flows.retrain.request import RetrainParams, RetrainRequest, read_request
from tasks import markdown

if TYPE_CHECKING:
    from tasks.training.estimate import TrainingEstimate

_MEMORY = ("weights", "gradients", "optimizer", "average", "activations")
_SAID = {"average": "average (EMA)", "activations": "a step's peak above these"}


def plan(params: RetrainParams) -> list[TrainingEstimate]:
    """Measures every part of a retraining; RequestError or StorageError when it could not be carried out at all."""
    from flows.retrain.training import training_job
    from tasks.training.estimate import estimate_training

    request = read_request(params)
    return [estimate_training(training_job(request, part, request.start)) for part in request.parts]


def as_markdown(estimates: list[TrainingEstimate], params: RetrainParams) -> str:
    """The plan as a table for people, and what it rests on."""
    request = read_request(params)
    title = f"Plan of a retraining on {request.dataset_ref}, profile {request.profile.name}"
    lines = [f"# {markdown.text(title)}", ""]
    rows: list[tuple[str, ...]] = []
    rows += _row("device", [estimate.device for estimate in estimates])
    rows += _row("trained parameters", [_millions(estimate.trained_parameters) for estimate in estimates])
    rows += _row("frozen parameters", [_millions(estimate.frozen_parameters) for estimate in estimates])
    for name in _MEMORY:
        rows += _row(
            f"memory: {_SAID.get(name, name)}",
            [_gib(getattr(estimate, f"{name}_bytes")) for estimate in estimates],
        )
    rows += _row("memory of a worker, all in all", [_gib(estimate.needed_bytes) for estimate in estimates])
    rows += _row("memory of the device", [_gib(estimate.capacity_bytes) for estimate in estimates])
    rows += _row("clips to train on", [str(estimate.train_clips) for estimate in estimates])
    rows += _row("steps per epoch", [f"{estimate.steps_per_epoch:.1f}" for estimate in estimates])
    rows += _row("steps", [str(estimate.steps) for estimate in estimates])
    rows += _row("seconds per step", [_seconds(estimate.seconds_per_step) for estimate in estimates])
    rows += _row("time of all steps", [_time(estimate.seconds) for estimate in estimates])
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
        settings = request.temporal if estimate.part == "temporal" else request.decoder
        if estimate.problem is not None:
            notes.append(f"{estimate.part} does not fit: {estimate.problem}")
        elif estimate.needed_bytes > estimate.capacity_bytes:
            notes.append(f"{estimate.part} needs more memory than the device has: lower micro_batch")
        if settings.sharding == "fsdp":
            notes.append(
                f"{estimate.part}: all but the peak is shared out over {settings.num_workers} workers (fsdp)."
            )
    return notes


def _row(name: str, values: list[str]) -> list[tuple[str, ...]]:
    return [(name, *values)]


def _millions(count: int) -> str:
    return f"{count / 1e6:.2f} M"


def _gib(size: int | None) -> str:
    return "unknown" if size is None else f"{size / 2**30:.2f} GiB"


def _seconds(seconds: float | None) -> str:
    return "unknown" if seconds is None else f"{seconds:.2f}"


def _time(seconds: float | None) -> str:
    return "unknown" if seconds is None else str(timedelta(seconds=round(seconds)))
