"""One training as a run of Ray Train: workers, restarts, checkpoints and progress."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.cluster import ensure_ray
from tasks.errors import RequestError
from tasks.progress import OnProgress
from tasks.training.settings import TrainingSettings

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Outcome:
    """How a run ended: its last report, the averaged weights of its last checkpoint, and how long it took."""

    run_name: str
    metrics: dict[str, Any]
    weights: dict[str, torch.Tensor]
    seconds: float


def run_training(
    worker: Callable[[dict[str, Any]], None],
    config: dict[str, Any],
    settings: TrainingSettings,
    work_dir: Path,
    name: str,
    on_progress: OnProgress | None = None,
) -> Outcome:
    """Run `worker(config)` on every worker and wait; checkpoints lie under `work_dir` until the run is over.

    On several machines `work_dir` has to be a folder that all of them see.
    """
    started_s = time.monotonic()
    _prepare_ray_train()
    ensure_ray()  # before Ray is imported: it reads its settings then
    from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer
    from ray.train.v2.api.config import LoggingConfig

    from tasks.training.progress import progress_callbacks

    _check_resources(settings, name)
    # Ray Train silently continues a run whose name it has seen.
    run_name = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}"
    storage = work_dir.absolute() / "ray-train"
    with progress_callbacks(on_progress, settings.steps) as callbacks:
        trainer = TorchTrainer(
            worker,
            train_loop_config=config,
            scaling_config=ScalingConfig(num_workers=settings.num_workers, use_gpu=settings.use_gpu),
            run_config=RunConfig(
                name=run_name,
                storage_path=str(storage),
                checkpoint_config=CheckpointConfig(num_to_keep=1),
                failure_config=FailureConfig(max_failures=settings.max_failures),
                logging_config=LoggingConfig(log_level="ERROR"),
                callbacks=callbacks,
            ),
        )
        result = trainer.fit()
    weights = _averaged_weights(result.checkpoint)
    shutil.rmtree(storage / run_name, ignore_errors=True)
    return Outcome(run_name, result.metrics, weights, time.monotonic() - started_s)


def _prepare_ray_train() -> None:
    # The minute that Ray Train gives its workers is short for importing torch on a busy machine.
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "600")
    if not os.environ.get("RAY_ADDRESS"):
        # On one machine no node can be taken away: spare the start of the process that would watch for it.
        os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")


def _check_resources(settings: TrainingSettings, name: str) -> None:
    """Ray Train would wait for ever for processors that the cluster does not have."""
    import ray

    kind = "GPU" if settings.use_gpu else "CPU"
    there = int(ray.cluster_resources().get(kind, 0))
    if there < settings.num_workers:
        wanted = f"{settings.num_workers} workers need one {kind} each"
        raise RequestError(f"{name}.num_workers: {wanted}, Ray has {there}")


def _averaged_weights(checkpoint: Any) -> dict[str, torch.Tensor]:
    import torch

    from tasks.training.engine import STATE_FILE

    with checkpoint.as_directory() as folder:
        return torch.load(Path(folder, STATE_FILE), map_location="cpu", weights_only=True)["ema"]
