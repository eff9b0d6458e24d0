"""The training loop: the same for the temporal layers and for the decoder, on one worker or many."""

from __future__ import annotations

import math
import resource
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from tasks.errors import RequestError
from tasks.training.batches import Batch, BatchLoader, Reader
from tasks.training.checkpoints import CheckpointStore, restore, snapshot, whole
from tasks.training.devices import Group, channels_last, shard, synchronized
from tasks.training.optimizers import Ema, make_optimizer, restored, set_lr
from tasks.training.progress import Figures, Progress, or_float32, why_it_ends
from tasks.training.sampler import ClipOrder
from tasks.training.settings import TemporalSettings, TrainingSettings
from tasks.training.splits import ClipRows
from tasks.training.watcher import TrainingWatcher
from vidrd_model.compiling import compile_blocks
from vidrd_model.dropout import dropout_keys
from vidrd_model.temporal_layers import TEMPORAL_MARK

_STEPS_TOLD_AT_ONCE = 1000


class TrainingPart(ABC):
    """What the engine trains: a model whose frozen parameters want no gradient, its data, loss and held-out figures."""

    model: nn.Module
    """The module whose parameters are trained; calling it is what several workers do together."""
    blocks: tuple[type[nn.Module], ...]
    """Kinds of modules that are compiled one by one, and whose weights a sharded model gathers one by one."""
    train_clips: ClipRows
    heldout_size: int
    reader: Reader
    notes: Sequence[str] = ()
    """Lines that a user has to read, such as what a loss has to go without."""

    def modules(self) -> Sequence[nn.Module]:
        """Returns all models that a worker holds."""
        return [self.model]

    @abstractmethod
    def prepare(self, device: torch.device) -> None:
        """Moves everything to a device, in the precision of the settings."""

    @abstractmethod
    def losses(self, model: nn.Module, batch: Any, step: int) -> torch.Tensor:
        """Returns the loss of each clip, (b,); `model` is `self.model`, wrapped for several workers."""

    @abstractmethod
    def heldout_figures(self, samples: Sequence[int]) -> Sequence[Figures]:
        """Returns the figures, `loss` among them, of each of the given held-out samples."""

    @abstractmethod
    def reset_temporal_layers(self) -> None:
        """Gives the model fresh temporal layers, which change nothing."""

    def after_step(self, group: Group, step: int) -> Figures:
        """Does what is left to do after a step, one that changed nothing too; returns figures to log with it."""
        return {}

    def sample_videos(self) -> dict[str, bytes]:
        """Returns an mp4 for each of a few fixed prompts and seeds, made with the weights as they are."""
        return {}

    def state(self) -> dict[str, Any]:
        """Returns what has been learned beside the model's parameters."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state` gave."""
        assert not state


class Training:
    """One worker's part of a training; `run` trains from the store's newest checkpoint to the end.

    The last checkpoint's `ema` holds the trained weights, averaged; its progress the curves and the held-out figures
    of `fresh`, `base` (the weights at the start) and `candidate` (the average at the end).
    """

    def __init__(self, part: TrainingPart, settings: TrainingSettings, group: Group) -> None:
        self.part, self.settings, self.group = part, settings, group
        part.prepare(group.device)
        self.is_sharded = settings.sharding == "fsdp" and group.size > 1
        if self.is_sharded:
            shard(part.model, part.blocks)
        elif group.device.type == "cuda":  # FSDP takes no such weights
            channels_last(part.model)
        self.trained = {name: p for name, p in part.model.named_parameters() if p.requires_grad}
        self.optimizer = make_optimizer(self.trained.values(), settings)
        self.ema = Ema(self.trained, settings.ema_decay)
        self.progress = Progress()
        if settings.compile:
            compile_blocks(part.model, part.blocks)
        self.order = ClipOrder(part.train_clips, settings.seed, settings.mix)

    def run(self, store: CheckpointStore, watcher: TrainingWatcher) -> None:
        """Trains to the end, after it has told all figures that the checkpoint brings: a crash may have kept them back.

        RequestError, on every worker, when too many steps in a row came to nothing, or a held-out figure is not finite.
        """
        saved = store.load_newest()
        if saved is not None:
            self.progress = Progress(**saved.pop("progress"))
            self.part.load_state(restore(saved, self.trained, self.ema, self.optimizer, self.group))
        watcher.started(self.progress.step)
        for start in range(0, self.progress.step, _STEPS_TOLD_AT_ONCE):
            watcher.figures(self.progress.points(start, start + _STEPS_TOLD_AT_ONCE))
        self.progress.notes = list(self.part.notes)
        if not self.progress.heldout:
            fresh, base = self._heldout_of_image_model(), self._heldout()
            self._check_heldout(fresh, "the model with fresh temporal layers", "look at its weights")
            self._check_heldout(base, "the model to start from", "look at its weights")
            self.progress.heldout = {"fresh": fresh, "base": base}
        if "candidate" in self.progress.heldout:
            return
        self._train(store, watcher)
        candidate = self._average_heldout()
        self._check_heldout(candidate, "the trained model", f"lower lr (it is {self.settings.lr:g})")
        self.progress.heldout["candidate"] = candidate
        self.progress.notes = list(self.part.notes)
        self._save(store)
        store.wait()

    def steps(self, first_step: int) -> BatchLoader:
        """Returns the batches of this worker from a step on."""
        return BatchLoader(
            self.part.reader, self.order, self.settings, first_step, self.group.rank, self.group.size
        )

    def step(self, model: nn.Module, micro_batches: Sequence[Batch]) -> None:
        """Makes a step over a worker's share of a batch; a loss or gradient that is not finite changes no weight."""
        settings, progress = self.settings, self.progress
        self.part.model.train()
        lr = set_lr(self.optimizer, settings, progress.step)
        self.optimizer.zero_grad(set_to_none=True)
        losses = [self._backward(model, batch, batch is micro_batches[-1]) for batch in micro_batches]
        gradient_norm = nn.utils.clip_grad_norm_(self.trained.values(), settings.max_grad_norm)
        total = self.group.sum(torch.cat(losses).double().sum())
        loss, norm = total.item() / settings.batch_size, float(whole(gradient_norm))
        if math.isfinite(loss) and math.isfinite(norm):
            self.optimizer.step()
            self.ema.update(progress.step)
            progress.bad_steps = 0
        else:
            self._note_bad_step(micro_batches, losses)
        # After a bad step too: what the part has gathered of it must not go into the figures of the next.
        more = self.part.after_step(self.group, progress.step)
        progress.end_step({"loss": loss, "lr": lr, "gradient_norm": norm}, more)

    def _train(self, store: CheckpointStore, watcher: TrainingWatcher) -> None:
        settings, progress = self.settings, self.progress
        model = self.part.model if self.is_sharded else self.group.wrap(self.part.model)
        loader = self.steps(progress.step)
        clock = _Clock(loader)
        told = progress.step
        self._sample(watcher)
        for micro_batches in loader:
            self.step(model, [batch.to(self.group.device) for batch in micro_batches])
            clock.tick()
            done = progress.step == settings.steps
            if done or progress.step % settings.log_every == 0:
                progress.add({**clock.figures(), "memory_gib": _peak_memory_gib(self.group.device)})
            if settings.validate_every and progress.step % settings.validate_every == 0 and not done:
                progress.add({f"heldout.{name}": value for name, value in self._average_heldout().items()})
            if done or progress.step % settings.log_every == 0:
                watcher.figures(progress.points(told, progress.step))
                told = progress.step
            if progress.step % settings.checkpoint_every == 0 and not done:
                self._save(store)
            self._sample(watcher)
            if progress.bad_steps >= settings.max_bad_steps or (done and progress.all_were_skipped):
                watcher.figures(progress.points(told, progress.step))
                raise RequestError(why_it_ends(progress, settings))

    def _average_heldout(self) -> Figures:
        with self.ema.applied():
            return self._heldout()

    def _backward(self, model: nn.Module, batch: Batch, is_last: bool) -> torch.Tensor:
        # Ranks have equally many clips, so the mean of their means is the batch's.
        share = self.settings.batch_size // self.group.size
        with synchronized(model, is_last), dropout_keys(batch.keys_b):
            losses_b = self.part.losses(model, batch, self.progress.step)
            (losses_b.sum() / share).backward()
        return losses_b.detach().float()

    def _note_bad_step(self, micro_batches: Sequence[Batch], losses: Sequence[torch.Tensor]) -> None:
        """Counts a bad step; names the clips whose own loss is not finite, or all where only the gradient is not."""
        ids = [item.clip.clip_id for batch in micro_batches for item in batch.clips]
        bad = [
            clip_id
            for clip_id, loss in zip(ids, torch.cat(list(losses)).tolist(), strict=True)
            if not math.isfinite(loss)
        ]
        named = [clip_id for share in self.group.gather(bad) for clip_id in share]
        everyone = [clip_id for share in self.group.gather(ids) for clip_id in share]
        self.progress.skip("loss" if named else "gradient", named or everyone)

    def _check_heldout(self, figures: Figures, whose: str, advice: str) -> None:
        """Raises RequestError for figures that are not finite: every worker has the same ones."""
        bad = ", ".join(name for name, value in figures.items() if not math.isfinite(value))
        if bad:
            advice += or_float32(self.settings)
            raise RequestError(f"the held-out figures ({bad}) of {whose} are not finite; {advice}")

    @torch.no_grad()
    def _heldout(self) -> Figures:
        """Returns the mean held-out figures over all samples; every rank computes its share."""
        self.part.model.eval()
        everyone = range(self.part.heldout_size)
        # All workers together can run a sharded model, and only as often as each other.
        mine = everyone if self.is_sharded else everyone[self.group.rank :: self.group.size]
        share = self.part.heldout_figures(mine)
        everything = [sample for figures in self.group.gather(list(share)) for sample in figures]
        return {name: sum(sample[name] for sample in everything) / len(everything) for name in everything[0]}

    def _heldout_of_image_model(self) -> Figures:
        temporal = {name: p for name, p in self.part.model.named_parameters() if TEMPORAL_MARK in name}
        with restored(temporal):
            self.part.reset_temporal_layers()
            return self._heldout()

    @torch.no_grad()
    def _sample(self, watcher: TrainingWatcher) -> None:
        every = self.settings.sample_every if isinstance(self.settings, TemporalSettings) else None
        if not every or self.progress.step % every:
            return
        self.part.model.eval()
        with self.ema.applied():
            videos = self.part.sample_videos() if self.is_sharded or self.group.rank == 0 else {}
        for name, mp4 in videos.items():
            watcher.video(self.progress.step, name, mp4)

    def _save(self, store: CheckpointStore) -> None:
        state = snapshot(self.trained, self.ema, self.optimizer, self.part.state(), self.group)
        if self.group.rank == 0:
            store.save(self.progress.step, state | {"progress": asdict(self.progress)})


class _Clock:
    """Measures steps per second, and the share of time spent waiting for data, since it was last asked."""

    def __init__(self, loader: BatchLoader) -> None:
        self._loader = loader
        self._steps = 0
        self.restart()

    def restart(self) -> None:
        """Leaves out what has passed, which was no training."""
        self._since_s, self._waited_s, self._steps = time.perf_counter(), self._loader.waited_s, 0

    def tick(self) -> None:
        self._steps += 1

    def figures(self) -> Figures:
        """Returns `steps_per_s` and `data_wait`, a share of the time."""
        seconds = max(time.perf_counter() - self._since_s, 1e-9)
        figures = {
            "steps_per_s": self._steps / seconds,
            "data_wait": (self._loader.waited_s - self._waited_s) / seconds,
        }
        self.restart()
        return figures


def _peak_memory_gib(device: torch.device) -> float:
    """Returns what this worker held at most: of the GPU, or without one of main memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
