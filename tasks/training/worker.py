"""What every worker of a training does on Ray Train."""

from __future__ import annotations

import os
from typing import Any

import ray.train
import torch
from ray.train.torch import get_device

from tasks.errors import RequestError
from tasks.training.advice import to_need_less_memory
from tasks.training.checkpoints import CheckpointStore
from tasks.training.devices import Group
from tasks.training.engine import Training
from tasks.training.reports import QueuedReports
from tasks.training.settings import DecoderSettings, TemporalSettings, TrainingSettings
from tasks.training.trainee import Trainee


def work(config: dict[str, Any]) -> None:
    """Train the part that the config names, from the newest checkpoint; why it cannot go on stands in the store."""
    settings = settings_of(config)
    context = ray.train.get_context()
    group = Group(context.get_world_rank(), context.get_world_size(), get_device())
    store = CheckpointStore(config["checkpoints"], config["digest"], settings.keep_checkpoints)
    if store.failure() is not None:
        return
    set_threads(settings, context.get_local_world_size())
    reports = QueuedReports(config["queue"] if group.rank == 0 else None)
    try:
        Training(trainee_of(config), settings, group).run(store, reports)
    except RequestError as error:  # every worker comes to it in the same step
        if group.rank == 0:
            store.fail(str(error))
    except torch.OutOfMemoryError as error:
        # One worker alone: the others wait for it until Ray ends them all.
        store.fail(out_of_memory(settings, error))
        raise


def set_threads(settings: TrainingSettings, workers_here: int) -> None:
    """Let a worker compute with its share of the cores: Ray gives it one thread, whatever the machine has."""
    if not settings.use_gpu:
        cores = len(os.sched_getaffinity(0))
        torch.set_num_threads(settings.threads or max(1, cores // workers_here))


def settings_of(config: dict[str, Any]) -> TrainingSettings:
    """The settings of the part that a config names."""
    kind = TemporalSettings if config["part"] == "temporal" else DecoderSettings
    return kind(**config["settings"])


def trainee_of(config: dict[str, Any]) -> Trainee:
    """The trainee of the part that a config names."""
    from tasks.generation.settings import SamplingSettings
    from tasks.training.decoder_part import DecoderTrainee
    from tasks.training.temporal_part import TemporalTrainee

    settings, place = settings_of(config), (config["dataset"], config["model"])
    left_out = config.get("left_out", ())
    if isinstance(settings, TemporalSettings):
        return TemporalTrainee(*place, settings, SamplingSettings(**config["sampling"]), left_out)
    assert isinstance(settings, DecoderSettings)
    return DecoderTrainee(*place, settings, left_out)


def out_of_memory(settings: TrainingSettings, error: torch.OutOfMemoryError) -> str:
    """One line for those whose model does not fit a GPU."""
    first_line = str(error).strip().splitlines()[0]
    return f"out of memory ({first_line}); try {to_need_less_memory(settings)}"
