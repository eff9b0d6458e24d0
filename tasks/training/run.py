"""One training as a run of Ray Train: its restarts and its end, and what each of its workers does."""

from __future__ import annotations

import logging
import os
import shutil
import time
import uuid
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import ray.train
import torch
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer, get_device
from ray.train.v2.api.config import LoggingConfig
from ray.train.v2.api.exceptions import TrainingFailedError
from ray.util.queue import Queue

from tasks.cluster import check_room, ensure_ray
from tasks.errors import RequestError
from tasks.progress import OnProgress
from tasks.training.checkpoints import CheckpointStore
from tasks.training.decoder_part import DecoderPart
from tasks.training.devices import Group
from tasks.training.engine import Training, TrainingPart
from tasks.training.failure import failure_line
from tasks.training.job import TrainingJob
from tasks.training.progress import Progress
from tasks.training.settings import TemporalSettings, TrainingSettings, less_memory_advice
from tasks.training.temporal_part import TemporalPart
from tasks.training.watcher import QueuedWatcher, TrainingWatcher, forwarded

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """How a run ended: its progress, the averaged weights, and how long this part of it took."""

    progress: Progress
    weights: dict[str, torch.Tensor]
    seconds: float


def run_training(
    job: TrainingJob,
    folder: Path,
    watcher: TrainingWatcher | None = None,
    on_progress: OnProgress | None = None,
) -> Outcome:
    """Trains on Ray; a run that was cut off goes on from its checkpoints.

    On several machines they have to lie where all of them see them. Raises RequestError when the cluster is too small
    or the training cannot go on.
    """
    started_s = time.monotonic()
    _prepare_ray_train()
    ensure_ray()
    _check_workers_fit(job)
    store = checkpoint_store(job, folder)
    store.take_failure()
    problem = _run_workers(job, store.place, folder, watcher, on_progress)
    reason = store.take_failure() or problem
    if reason is not None:
        raise RequestError(f"{job.part}: {reason}")
    saved = store.load_newest()
    assert saved is not None
    progress = Progress(**saved["progress"])
    assert "candidate" in progress.heldout
    return Outcome(progress, saved["ema"], time.monotonic() - started_s)


def checkpoint_store(job: TrainingJob, folder: Path) -> CheckpointStore:
    """Returns the checkpoints of a training: in its folder, or at the address that the settings name."""
    place = str(folder.absolute() / "checkpoints")
    if job.settings.checkpoints:
        place = f"{job.settings.checkpoints.rstrip('/')}/{job.digest[:12]}-{job.part}"
    return CheckpointStore(place, job.digest, job.settings.keep_checkpoints)


class _Trainer(TorchTrainer):
    """Ray Train's trainer that an interrupt ends like any other Python; the workers end with it."""

    def _register_sigint_handler(self, controller: Any) -> None:
        """Does nothing: Ray's handler goes on as if nothing had happened and ends with exit code 0."""


def _run_workers(
    job: TrainingJob,
    checkpoints: str,
    folder: Path,
    watcher: TrainingWatcher | None,
    on_progress: OnProgress | None,
) -> str | None:
    """Runs the workers to their end; returns a line if they died too often.

    Ray's own checkpoints are not used: a crash while Ray writes the list of them would lose all.
    """
    # Ray Train silently continues a run whose name it has seen.
    run_name = f"{job.part}-{uuid.uuid4().hex[:8]}"
    storage = folder.absolute() / "ray-train"
    settings = job.settings
    with forwarded(watcher, on_progress, settings.steps) as queue:
        trainer = _Trainer(
            partial(work, job, checkpoints, queue),
            scaling_config=ScalingConfig(num_workers=settings.num_workers, use_gpu=settings.use_gpu),
            run_config=RunConfig(
                name=run_name,
                storage_path=str(storage),
                failure_config=FailureConfig(max_failures=settings.max_failures),
                logging_config=LoggingConfig(log_level="ERROR"),
            ),
        )
        try:
            trainer.fit()
        except TrainingFailedError as error:
            _log.warning("the training failed", exc_info=True)
            return failure_line(error, settings)
        finally:
            shutil.rmtree(storage, ignore_errors=True)
    return None


def work(job: TrainingJob, checkpoints: str, queue: Queue) -> None:
    """Does a worker's share of a training, from the newest checkpoint on.

    Why a training cannot go on is left in the store of checkpoints.
    """
    settings = job.settings
    context = ray.train.get_context()
    group = Group(context.get_world_rank(), context.get_world_size(), get_device())
    store = CheckpointStore(checkpoints, job.digest, settings.keep_checkpoints)
    if store.failure() is not None:
        return
    set_threads(settings, context.get_local_world_size())
    watcher = QueuedWatcher(queue if group.rank == 0 else None)
    try:
        Training(part_of(job), settings, group).run(store, watcher)
    except RequestError as error:  # every worker comes to it in the same step
        if group.rank == 0:
            store.fail(str(error))
    except torch.OutOfMemoryError as error:
        # One worker alone: the others wait for it until Ray ends them all.
        store.fail(out_of_memory(settings, error))
        raise


def part_of(job: TrainingJob) -> TrainingPart:
    """Loads what a job trains; RequestError when its dataset lacks what the settings ask for."""
    if isinstance(job.settings, TemporalSettings):
        assert job.sampling is not None
        return TemporalPart(job.dataset, job.model, job.settings, job.sampling, job.left_out)
    return DecoderPart(job.dataset, job.model, job.settings, job.left_out)


def set_threads(settings: TrainingSettings, workers_here: int) -> None:
    """Lets a worker compute with its share of the cores: Ray gives it one thread, whatever the machine has."""
    if not settings.use_gpu:
        cores = len(os.sched_getaffinity(0))
        torch.set_num_threads(settings.threads or max(1, cores // workers_here))


def out_of_memory(settings: TrainingSettings, error: torch.OutOfMemoryError) -> str:
    """Says in one line what helps a model that is too large for a GPU."""
    first_line = str(error).strip().splitlines()[0]
    return f"out of memory ({first_line}); try {less_memory_advice(settings)}"


def _prepare_ray_train() -> None:
    # The minute that Ray Train gives its workers is short for importing torch on a busy machine.
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "600")
    if not os.environ.get("RAY_ADDRESS"):
        # On one machine no node can be taken away: spare the start of the process that would watch for it.
        os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")


def _check_workers_fit(job: TrainingJob) -> None:
    """Raises RequestError when Ray Train would wait for ever for processors that the cluster does not have."""
    kind = "GPU" if job.settings.use_gpu else "CPU"
    check_room(f"{job.part}.num_workers", job.settings.num_workers, {kind: 1})
