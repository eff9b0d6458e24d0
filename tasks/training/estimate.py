"""Whether a training fits, and how long it will take: measured on a few real steps before anything long starts."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import psutil
import ray
import torch

from tasks.cluster import check_room, ensure_ray
from tasks.errors import RequestError
from tasks.peak_memory import PeakMemory
from tasks.training.devices import Group
from tasks.training.engine import Training
from tasks.training.job import TrainingJob
from tasks.training.run import out_of_memory, part_of, set_threads
from tasks.training.settings import Part

WARM_UP_STEPS, TIMED_STEPS = 1, 3


@dataclass(frozen=True)
class TrainingEstimate:
    """What one worker needs for its share of a batch, and the whole training's time.

    Bytes are those of one worker; `activations` is what a step adds at its peak to all else, `capacity` what the
    device has. `problem` says why the steps could not be measured; then times are None.
    """

    part: Part
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
        """The time of all steps; loading, held-out clips and checkpoints come on top."""
        return None if self.seconds_per_step is None else self.steps * self.seconds_per_step


def estimate_training(job: TrainingJob) -> TrainingEstimate:
    """Does a few steps of a training on Ray and says what they took.

    One worker does the share of a batch that it would do among many; what workers lose by waiting for each other is
    not in it. Raises RequestError as the training would.
    """
    ensure_ray()
    gpus = 1 if job.settings.use_gpu else 0
    check_room(f"{job.part}.use_gpu", 1, {"CPU": 1, "GPU": gpus})
    try:
        estimate: TrainingEstimate = ray.get(
            ray.remote(num_cpus=1, num_gpus=gpus, max_retries=0)(_measure).remote(job)
        )
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, RequestError):
            raise error.cause from None
        raise
    return estimate


def _measure(job: TrainingJob) -> TrainingEstimate:
    settings = job.settings
    share = settings.batch_size // settings.num_workers
    alone = settings.model_copy(update={"num_workers": 1, "batch_size": share})
    device = torch.device("cuda" if settings.use_gpu else "cpu")
    set_threads(alone, settings.num_workers)
    training = Training(part_of(replace(job, settings=alone)), alone, Group(device=device))
    problem = seconds = activations = None
    optimizer_bytes = 2 * _bytes(training.trained.values())
    try:
        seconds, activations, optimizer_bytes = _a_few_steps(training)
    except torch.OutOfMemoryError as error:
        problem = out_of_memory(settings, error)
    models = training.part.modules()
    trained = sum(parameter.numel() for parameter in training.trained.values())
    return TrainingEstimate(
        part=job.part,
        device=torch.cuda.get_device_name() if settings.use_gpu else "CPU",
        trained_parameters=trained,
        frozen_parameters=sum(p.numel() for model in models for p in model.parameters()) - trained,
        weights_bytes=sum(_bytes(model.parameters()) for model in models),
        gradients_bytes=_bytes(training.trained.values()),
        optimizer_bytes=optimizer_bytes,
        average_bytes=_bytes(training.ema.weights.values()),
        activations_bytes=activations,
        capacity_bytes=_capacity(device),
        train_clips=len(training.part.train_clips),
        steps=settings.steps,
        steps_per_epoch=training.order.steps_per_epoch(settings.batch_size),
        seconds_per_step=seconds,
        problem=problem,
    )


def _a_few_steps(training: Training) -> tuple[float, int, int]:
    """Returns a step's seconds, the bytes it adds at its peak to weights, gradients and states, and the optimizer's."""
    batches = iter(training.steps(0))
    times: list[float] = []
    # From before the first step: the process keeps what each step frees for the next.
    memory = PeakMemory(training.group.device)
    for _ in range(WARM_UP_STEPS + TIMED_STEPS):
        micro_batches = [batch.to(training.group.device) for batch in next(batches)]
        started_s = time.perf_counter()
        training.step(training.part.model, micro_batches)  # its figures wait for the device
        times.append(time.perf_counter() - started_s)
    tensors = (value for state in training.optimizer.state.values() for value in state.values())
    optimizer = _bytes(tensors)
    added = memory.grown_bytes() - _bytes(training.trained.values()) - optimizer
    return median(times[WARM_UP_STEPS:]), max(0, added), optimizer


def _capacity(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return int(psutil.virtual_memory().total)


def _bytes(tensors: Iterable[Any]) -> int:
    return sum(t.numel() * t.element_size() for t in tensors if hasattr(t, "element_size"))
