"""Whether a training fits, and how long it will take: measured on a few real steps before anything long starts."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from tasks.cluster import check_room, ensure_ray
from tasks.errors import RequestError
from tasks.peak_memory import PeakMemory

if TYPE_CHECKING:
    import torch

    from tasks.training.engine import Training

WARM_UP_STEPS, TIMED_STEPS = 1, 3


@dataclass(frozen=True)
class Fit:
    """What one worker needs for its share of a batch, and the whole training's time.

    Bytes are those of one worker; `activations` is what a step adds at its peak to all else, `capacity` what the
    device has. `problem` says why the steps could not be measured; then times are None.
    """

    part: str
    device: str
    trained_parameters: int
    frozen_parameters: int
    weights_bytes: int
    gradients_bytes: int
    optimizer_bytes: int
    average_bytes: int
    activations_bytes: int | None
    capacity_bytes: int
    train_clips: int
    steps: int
    steps_per_epoch: float
    seconds_per_step: float | None
    problem: str | None = None

    @property
    def needed_bytes(self) -> int:
        """All parts together."""
        parts = (self.weights_bytes, self.gradients_bytes, self.optimizer_bytes, self.average_bytes)
        return sum(parts) + (self.activations_bytes or 0)

    @property
    def seconds(self) -> float | None:
        """Of all steps; loading, held-out clips and checkpoints come on top."""
        return None if self.seconds_per_step is None else self.steps * self.seconds_per_step


def measure_fit(config: dict[str, Any]) -> Fit:
    """Do a few steps of a training (`temporal_config` or `decoder_config`) on Ray and say what they took.

    One worker does the share of a batch that it would do among many; what workers lose by waiting for each other is
    not in it. Raises RequestError as the training would.
    """
    ensure_ray()
    import ray

    from tasks.training.worker import settings_of

    gpus = 1 if settings_of(config).use_gpu else 0
    check_room(f"{config['part']}.use_gpu", 1, {"CPU": 1, "GPU": gpus})
    try:
        fit: Fit = ray.get(ray.remote(num_cpus=1, num_gpus=gpus, max_retries=0)(_measure).remote(config))
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, RequestError):
            raise error.cause from None
        raise
    return fit


def _measure(config: dict[str, Any]) -> Fit:
    import torch

    from tasks.training.devices import Group
    from tasks.training.engine import Training
    from tasks.training.worker import out_of_memory, set_threads, settings_of, trainee_of

    whole = settings_of(config)
    share = whole.batch_size // whole.num_workers
    alone = whole.model_copy(update={"num_workers": 1, "batch_size": share})
    device = torch.device("cuda" if whole.use_gpu else "cpu")
    set_threads(alone, whole.num_workers)
    training = Training(trainee_of(config | {"settings": alone.model_dump()}), alone, Group(device=device))
    problem = seconds = activations = None
    optimizer_bytes = 2 * _bytes(training.trained.values())
    try:
        seconds, activations, optimizer_bytes = _a_few_steps(training)
    except torch.OutOfMemoryError as error:
        problem = out_of_memory(whole, error)
    models = training.trainee.modules()
    trained = sum(parameter.numel() for parameter in training.trained.values())
    return Fit(
        part=config["part"],
        device=torch.cuda.get_device_name() if whole.use_gpu else "CPU",
        trained_parameters=trained,
        frozen_parameters=sum(p.numel() for model in models for p in model.parameters()) - trained,
        weights_bytes=sum(_bytes(model.parameters()) for model in models),
        gradients_bytes=_bytes(training.trained.values()),
        optimizer_bytes=optimizer_bytes,
        average_bytes=_bytes(training.ema.weights.values()),
        activations_bytes=activations,
        capacity_bytes=_capacity(device),
        train_clips=len(training.trainee.train_clips),
        steps=whole.steps,
        steps_per_epoch=training.sampler.steps_per_epoch(whole.batch_size),
        seconds_per_step=seconds,
        problem=problem,
    )


def _a_few_steps(training: Training) -> tuple[float, int, int]:
    """Seconds of a step, the bytes it adds at its peak to weights, gradients and states, and the optimizer's bytes."""
    batches = iter(training.steps(0))
    times: list[float] = []
    # From before the first step: the process keeps what each step frees for the next.
    memory = PeakMemory(training.group.device)
    for _ in range(WARM_UP_STEPS + TIMED_STEPS):
        micro_batches = [batch.to(training.group.device) for batch in next(batches)]
        started_s = time.perf_counter()
        training.step(training.trainee.model, micro_batches)  # its figures wait for the device
        times.append(time.perf_counter() - started_s)
    tensors = (value for state in training.optimizer.state.values() for value in state.values())
    optimizer = _bytes(tensors)
    added = memory.grown_bytes() - _bytes(training.trained.values()) - optimizer
    return median(times[WARM_UP_STEPS:]), max(0, added), optimizer


def _capacity(device: torch.device) -> int:
    import psutil
    import torch

    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return int(psutil.virtual_memory().total)


def _bytes(tensors: Iterable[Any]) -> int:
    return sum(t.numel() * t.element_size() for t in tensors if hasattr(t, "element_size"))
