"""What batches and their readers have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Self

import torch

from storage.dataset.clip_dataset import ClipDataset
from tasks.training.sampler import EpochClip


@dataclass(frozen=True)
class Batch:
    """Clips in work at once, with their tensors; `keys_b` seeds what their layers draw."""

    clips: list[EpochClip]
    keys_b: torch.Tensor

    def to(self, device: torch.device) -> Self:
        """The same on a device."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Self:
        """The same in memory that a GPU can read by itself."""
        return self._map(torch.Tensor.pin_memory)

    def _map(self, function: Callable[[torch.Tensor], torch.Tensor]) -> Self:
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, torch.Tensor)}
        moved: dict[str, Any] = {name: function(tensor) for name, tensor in tensors.items()}
        return replace(self, **moved)


class Reader(ABC):
    """Reads the batches of several steps; it travels to other processes and opens the dataset in the one that reads."""

    steps_at_once: ClassVar[int]
    """Steps whose clips are read in one sorted take: sixteen are six times as fast as one by one."""

    def __init__(self, dataset_ref: str) -> None:
        self._dataset_ref = dataset_ref

    @abstractmethod
    def read(self, batches: Sequence[Sequence[EpochClip]]) -> list[Any]:
        """One `Batch` for each list of clips."""

    @cached_property
    def _dataset(self) -> ClipDataset:
        return ClipDataset.open(self._dataset_ref)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_dataset"}
