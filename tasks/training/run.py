"""One training as a run of Ray Train: workers, restarts, and what it ends with."""

from __future__ import annotations

import logging
import os
import shutil
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.cluster import check_room, ensure_ray
from tasks.errors import RequestError
from tasks.progress import OnProgress
from tasks.training.advice import to_need_less_memory
from tasks.training.record import config_digest
from tasks.training.settings import TrainingSettings

if TYPE_CHECKING:
    import torch

    from tasks.training.checkpoints import CheckpointStore
    from tasks.training.watcher import TrainingWatcher


_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """How a run ended: its progress, the averaged weights, and how long this part of it took."""

    progress: dict[str, Any]
    weights: dict[str, torch.Tensor]
    seconds: float


def run_training(
    config: dict[str, Any],
    settings: TrainingSettings,
    folder: Path,
    watcher: TrainingWatcher | None = None,
    on_progress: OnProgress | None = None,
) -> Outcome:
    """Train what `config` says (see `worker.work`) on Ray; a run that was cut off goes on from its checkpoints.

    On several machines they have to lie where all of them see them. Raises RequestError when the cluster is too small
    or the training cannot go on.
    """
    started_s = time.monotonic()
    _prepare_ray_train()
    ensure_ray()  # before Ray is imported: it reads its settings then
    check_workers_fit(settings, config["part"])
    store = checkpoint_store(config, settings, folder)
    store.take_failure()
    told = {"digest": store.config_digest, "checkpoints": store.place}
    problem = _fit(config | told, settings, folder, watcher, on_progress)
    reason = store.take_failure() or problem
    if reason is not None:
        raise RequestError(f"{config['part']}: {reason}")
    saved = store.load_newest()
    assert saved is not None and "candidate" in saved["progress"]["heldout"]
    return Outcome(saved["progress"], saved["ema"], time.monotonic() - started_s)


def checkpoint_store(config: dict[str, Any], settings: TrainingSettings, folder: Path) -> CheckpointStore:
    """Where the checkpoints of a training lie: in its folder, or at the address that the settings name."""
    from tasks.training.checkpoints import CheckpointStore

    digest = config_digest(config)
    place = str(folder.absolute() / "checkpoints")
    if settings.checkpoints:
        place = f"{settings.checkpoints.rstrip('/')}/{digest[:12]}-{config['part']}"
    return CheckpointStore(place, digest, settings.keep_checkpoints)


def _fit(
    config: dict[str, Any],
    settings: TrainingSettings,
    folder: Path,
    watcher: TrainingWatcher | None,
    on_progress: OnProgress | None,
) -> str | None:
    """Run the workers to their end; a line if they died too often.

    Ray's own checkpoints are not used: a crash while Ray writes the list of them would lose all.
    """
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.v2.api.config import LoggingConfig
    from ray.train.v2.api.exceptions import TrainingFailedError

    from tasks.training.reports import heard_by
    from tasks.training.trainer import Trainer
    from tasks.training.worker import work

    # Ray Train silently continues a run whose name it has seen.
    run_name = f"{config['part']}-{uuid.uuid4().hex[:8]}"
    storage = folder.absolute() / "ray-train"
    with heard_by(watcher, on_progress, settings.steps) as queue:
        trainer = Trainer(
            work,
            train_loop_config=config | {"queue": queue},
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
            return _in_one_line(error, settings)
        finally:
            shutil.rmtree(storage, ignore_errors=True)
    return None


def _in_one_line(error: Exception, settings: TrainingSettings) -> str:
    """Which worker died of what; the first failure is the cause of the others'."""
    from ray.exceptions import RayActorError

    failures = getattr(error, "worker_failures", None) or {0: error}
    rank, failure = next(iter(failures.items()))
    failure = getattr(failure, "health_check_failure", failure)
    last_line = str(failure).strip().splitlines()[-1].strip()
    if isinstance(failure, RayActorError):  # it did not raise, it was gone
        last_line += f" (if it was for want of memory, try {to_need_less_memory(settings)})"
    return (
        f"worker {rank} failed {settings.max_failures + 1} times, at last with {last_line or type(failure).__name__}; "
        "the same command goes on from the last checkpoint"
    )


def _prepare_ray_train() -> None:
    # The minute that Ray Train gives its workers is short for importing torch on a busy machine.
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "600")
    if not os.environ.get("RAY_ADDRESS"):
        # On one machine no node can be taken away: spare the start of the process that would watch for it.
        os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")


def check_workers_fit(settings: TrainingSettings, part: str) -> None:
    """RequestError when Ray Train would wait for ever for processors that the cluster does not have."""
    kind = "GPU" if settings.use_gpu else "CPU"
    check_room(f"{part}.num_workers", settings.num_workers, {kind: 1})
