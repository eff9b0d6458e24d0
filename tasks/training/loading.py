"""Batches read ahead of the training, by processes of their own where the settings ask for them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from torch.utils.data import DataLoader, Dataset

from tasks.training.batches import Reader
from tasks.training.sampler import ClipSampler, EpochClip

if TYPE_CHECKING:
    from tasks.training.settings import TrainingSettings


class BatchLoader:
    """Iterates over a worker's batches from a step on, as lists of micro-batches; counts the time spent waiting.

    A rank takes every world-size-th clip of a step's batch, whatever is already read or lost in a restart.
    """

    def __init__(
        self,
        reader: Reader,
        sampler: ClipSampler,
        settings: TrainingSettings,
        first_step: int,
        rank: int,
        world_size: int,
    ) -> None:
        self._sampler, self._settings = sampler, settings
        self._first_step, self._rank, self._world_size = first_step, rank, world_size
        self._steps_at_once = reader.steps_at_once
        share = settings.batch_size // world_size
        self._micro_batch = min(settings.micro_batch or share, share)
        workers = settings.loader_workers
        self._loader = DataLoader(
            _Reading(reader),
            sampler=self._groups(),
            batch_size=None,
            collate_fn=_unchanged,
            num_workers=workers,
            # A fork would copy what Lance, CUDA and gloo hold, and hang.
            multiprocessing_context="spawn" if workers else None,
            prefetch_factor=2 if workers else None,
            pin_memory=settings.use_gpu,
        )
        self.waited_s = 0.0

    def __iter__(self) -> Iterator[list[Any]]:
        groups = iter(self._loader)
        while True:
            started_s = time.perf_counter()
            group = next(groups, None)
            self.waited_s += time.perf_counter() - started_s
            if group is None:
                return
            micro_batches = iter(group)
            count = -(-self._settings.batch_size // self._world_size // self._micro_batch)
            for first in micro_batches:
                yield [first, *(next(micro_batches) for _ in range(count - 1))]

    def _groups(self) -> Iterator[list[list[EpochClip]]]:
        """The clips of every micro-batch of several steps."""
        size = self._settings.batch_size
        for start in range(self._first_step, self._settings.steps, self._steps_at_once):
            group = []
            for step in range(start, min(start + self._steps_at_once, self._settings.steps)):
                share = self._sampler.batch(step, size)[self._rank :: self._world_size]
                group += [share[i : i + self._micro_batch] for i in range(0, len(share), self._micro_batch)]
            yield group


class _Reading(Dataset[Any]):
    """A reader behind the interface of PyTorch's loader, whose indices are lists of clips."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def __getitem__(self, group: list[list[EpochClip]]) -> list[Any]:
        return self._reader.read(group)


def _unchanged(group: Any) -> Any:
    return group
