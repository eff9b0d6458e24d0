"""The training loop of a Ray Train worker: the same for the temporal layers and for the decoder."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import ray.train
import torch
import torch.distributed as dist
from ray.train.torch import get_device, prepare_model
from torch import nn

from tasks.training.data import ClipRow, EpochClip, global_batch, seeded_generator
from tasks.training.ema import Ema, load_weights, restored
from tasks.training.settings import TrainingSettings
from vidrd_model.temporal_layers import TEMPORAL_MARK

STATE_FILE = "state.pt"

Figures = dict[str, float]


class Trainee(Protocol):
    """What is trained: a model whose frozen parameters want no gradient, its loss, its held-out figures."""

    train_clips: list[ClipRow]
    heldout_size: int

    @property
    def model(self) -> nn.Module:
        """The module whose parameters are trained; calling it is what several workers do together."""
        ...

    def to(self, device: torch.device) -> None:
        """Move everything to a device."""
        ...

    def loss(self, model: nn.Module, batch: Sequence[EpochClip]) -> torch.Tensor:
        """The mean loss of a batch; `model` is `self.model`, wrapped for several workers."""
        ...

    def heldout_figures(self, samples: Sequence[int]) -> Sequence[Figures]:
        """The figures, `loss` among them, of each of the given held-out samples."""
        ...

    def reset_temporal_layers(self) -> None:
        """Give the model fresh temporal layers, which change nothing."""
        ...


def _no_curves() -> dict[str, list[float]]:
    return {"loss": [], "lr": [], "gradient_norm": []}


@dataclass
class Progress:
    """What a checkpoint keeps beside weights and optimizer."""

    step: int = 0
    curves: dict[str, list[float]] = field(default_factory=_no_curves)
    heldout: dict[str, Figures] = field(default_factory=dict)


def train(trainee: Trainee, settings: TrainingSettings) -> None:
    """Train inside a Ray Train worker, from its last checkpoint if it has one; the last report is the result.

    The last checkpoint's `ema` holds the trained weights, averaged; the last report the curves and the
    held-out figures of `fresh`, `base` (the weights at the start) and `candidate` (the average at the end).
    """
    context = ray.train.get_context()
    rank, workers = context.get_world_rank(), context.get_world_size()
    if not settings.use_gpu:
        # Ray gives a worker one thread, whatever the machine has.
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // context.get_local_world_size()))
    trainee.to(get_device())
    trained = {name: p for name, p in trainee.model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(trained.values(), lr=settings.lr, weight_decay=settings.weight_decay)
    ema = Ema(trained, settings.ema_decay)
    progress = _resume(trained, ema, optimizer)
    if not progress.heldout:
        progress.heldout["fresh"] = _heldout_of_image_model(trainee, rank, workers)
        progress.heldout["base"] = _heldout(trainee, rank, workers)
    model = prepare_model(
        trainee.model, move_to_device=False, parallel_strategy_kwargs={"broadcast_buffers": False}
    )
    while progress.step < settings.steps:
        _step(model, trainee, settings, progress, optimizer, trained, rank, workers)
        ema.update(progress.step - 1)
        if progress.step < settings.steps:
            _report_now_and_then(settings, progress, trained, ema, optimizer, rank)
    with ema.applied():
        progress.heldout["candidate"] = _heldout(trainee, rank, workers)
    _report(progress, _state(progress, trained, ema, optimizer), rank)


def lr_factor(step: int, warmup_steps: int, steps: int) -> float:
    """Linear warm-up over `warmup_steps`, then half a cosine down to zero at `steps`."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / max(1, steps - warmup_steps)))


def _step(
    model: nn.Module,
    trainee: Trainee,
    settings: TrainingSettings,
    progress: Progress,
    optimizer: torch.optim.Optimizer,
    trained: Mapping[str, nn.Parameter],
    rank: int,
    workers: int,
) -> None:
    batch = global_batch(trainee.train_clips, settings.seed, progress.step, settings.batch_size)
    # Layers with dropout draw from the global generator: seeded here, a restart repeats what it drew.
    torch.manual_seed(seeded_generator(settings.seed, "layers", progress.step, rank).initial_seed())
    trainee.model.train()
    lr = settings.lr * lr_factor(progress.step, settings.warmup_steps, settings.steps)
    for group in optimizer.param_groups:
        group["lr"] = lr
    # Ranks take every workers-th clip and equally many, so the mean of their means is the batch's.
    loss = trainee.loss(model, batch[rank::workers])
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    gradient_norm = nn.utils.clip_grad_norm_(trained.values(), settings.max_grad_norm)
    mean_loss = _mean_over_ranks(loss.detach())
    if not (math.isfinite(mean_loss) and math.isfinite(gradient_norm)):
        ids = ", ".join(item.clip.clip_id for item in batch)
        raise FloatingPointError(f"the loss of step {progress.step} is not finite; its clips are {ids}")
    optimizer.step()
    for name, value in (("loss", mean_loss), ("lr", lr), ("gradient_norm", float(gradient_norm))):
        progress.curves[name].append(value)
    progress.step += 1


@torch.no_grad()
def _heldout(trainee: Trainee, rank: int, workers: int) -> Figures:
    """Mean held-out figures over all samples; every rank computes its share."""
    trainee.model.eval()
    figures = trainee.heldout_figures(range(rank, trainee.heldout_size, workers))
    shares: list[Any] = [None] * workers
    if workers > 1:
        dist.all_gather_object(shares, figures)
    else:
        shares = [figures]
    everything = [sample for share in shares for sample in share]
    return {name: sum(sample[name] for sample in everything) / len(everything) for name in everything[0]}


def _heldout_of_image_model(trainee: Trainee, rank: int, workers: int) -> Figures:
    temporal = {name: p for name, p in trainee.model.named_parameters() if TEMPORAL_MARK in name}
    with restored(temporal):
        trainee.reset_temporal_layers()
        return _heldout(trainee, rank, workers)


def _mean_over_ranks(value: torch.Tensor) -> float:
    if dist.is_initialized() and dist.get_world_size() > 1:
        dist.all_reduce(value)
        value /= dist.get_world_size()
    return value.item()


def _report_now_and_then(
    settings: TrainingSettings,
    progress: Progress,
    trained: Mapping[str, nn.Parameter],
    ema: Ema,
    optimizer: torch.optim.Optimizer,
    rank: int,
) -> None:
    if progress.step % settings.checkpoint_every == 0:
        _report(progress, _state(progress, trained, ema, optimizer), rank)
    elif progress.step % settings.log_every == 0:
        ray.train.report({"step": progress.step, "loss": progress.curves["loss"][-1]})


def _report(progress: Progress, state: dict[str, Any], rank: int) -> None:
    """Report everything so far with a checkpoint, which rank 0 writes."""
    metrics = {**asdict(progress), "loss": progress.curves["loss"][-1]}
    if rank != 0:
        ray.train.report(metrics, checkpoint=None)
        return
    with tempfile.TemporaryDirectory() as folder:
        torch.save(state, Path(folder, STATE_FILE))
        ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))


def _state(
    progress: Progress, trained: Mapping[str, nn.Parameter], ema: Ema, optimizer: torch.optim.Optimizer
) -> dict[str, Any]:
    return {
        "progress": asdict(progress),
        "trained": {name: parameter.detach() for name, parameter in trained.items()},
        "ema": ema.weights,
        "optimizer": optimizer.state_dict(),
    }


def _resume(trained: Mapping[str, nn.Parameter], ema: Ema, optimizer: torch.optim.Optimizer) -> Progress:
    """Load this run's last checkpoint, which exists when Ray Train restarts the workers after a failure."""
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return Progress()
    with checkpoint.as_directory() as folder:
        state = torch.load(Path(folder, STATE_FILE), map_location=get_device(), weights_only=True)
    load_weights(trained, state["trained"])
    ema.weights = state["ema"]
    optimizer.load_state_dict(state["optimizer"])
    return Progress(**state["progress"])
