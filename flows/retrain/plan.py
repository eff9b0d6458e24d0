"""What a retraining needs and how long it takes, from a few measured steps: `vidrd retrain --plan`."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from flows.retrain.request import RetrainParams, RetrainRequest, read_request
from tasks import markdown

if TYPE_CHECKING:
    from tasks.training.estimate import Fit

_MEMORY = ("weights", "gradients", "optimizer", "average", "activations")
_SAID = {"average": "average (EMA)", "activations": "a step's peak above these"}


def plan(params: RetrainParams) -> list[Fit]:
    """Measures every part of a retraining; RequestError or StorageError when it could not be carried out at all."""
    from tasks.training.decoder import decoder_config
    from tasks.training.estimate import measure_fit
    from tasks.training.train import temporal_config

    request = read_request(params)
    place = (request.dataset_ref, request.start)
    configs = {
        "temporal": lambda: temporal_config(*place, request.temporal, request.profile.sampling),
        "decoder": lambda: decoder_config(*place, request.decoder),
    }
    return [measure_fit(configs[part]()) for part in request.parts]


def as_markdown(fits: list[Fit], params: RetrainParams) -> str:
    """The plan as a table for people, and what it rests on."""
    request = read_request(params)
    title = f"Plan of a retraining on {request.dataset_ref}, profile {request.profile.name}"
    lines = [f"# {markdown.text(title)}", ""]
    rows: list[tuple[str, ...]] = []
    rows += _row("device", [fit.device for fit in fits])
    rows += _row("trained parameters", [_millions(fit.trained_parameters) for fit in fits])
    rows += _row("frozen parameters", [_millions(fit.frozen_parameters) for fit in fits])
    for name in _MEMORY:
        rows += _row(
            f"memory: {_SAID.get(name, name)}", [_gib(getattr(fit, f"{name}_bytes")) for fit in fits]
        )
    rows += _row("memory of a worker, all in all", [_gib(fit.needed_bytes) for fit in fits])
    rows += _row("memory of the device", [_gib(fit.capacity_bytes) for fit in fits])
    rows += _row("clips to train on", [str(fit.train_clips) for fit in fits])
    rows += _row("steps per epoch", [f"{fit.steps_per_epoch:.1f}" for fit in fits])
    rows += _row("steps", [str(fit.steps) for fit in fits])
    rows += _row("seconds per step", [_seconds(fit.seconds_per_step) for fit in fits])
    rows += _row("time of all steps", [_time(fit.seconds) for fit in fits])
    lines += markdown.table(("", *(fit.part for fit in fits)), rows, numbers=True)
    lines += ["", *(f"- {markdown.text(line)}" for line in _notes(fits, request))]
    return "\n".join(lines) + "\n"


def _notes(fits: list[Fit], request: RetrainRequest) -> list[str]:
    notes = [
        "Memory is that of one worker with its share of a batch; libraries come on top, on a GPU about a GiB.",
        "Steps were measured on one worker with nothing beside it: what workers wait for each other, loading, held-out "
        "clips, sample videos and checkpoints come on top.",
    ]
    for fit in fits:
        settings = request.temporal if fit.part == "temporal" else request.decoder
        if fit.problem is not None:
            notes.append(f"{fit.part} does not fit: {fit.problem}")
        elif fit.needed_bytes > fit.capacity_bytes:
            notes.append(f"{fit.part} needs more memory than the device has: lower micro_batch")
        if settings.sharding == "fsdp":
            notes.append(
                f"{fit.part}: all but the peak is shared out over {settings.num_workers} workers (fsdp)."
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
