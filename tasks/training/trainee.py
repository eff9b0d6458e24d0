"""What the engine asks of that which is trained."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from tasks.training.batches import Reader
from tasks.training.devices import Group
from tasks.training.progress import Figures
from tasks.training.splits import ClipRows


class Trainee(ABC):
    """A model whose frozen parameters want no gradient, its data, its loss, its held-out figures."""

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
        """All models that a worker holds."""
        return [self.model]

    @abstractmethod
    def prepare(self, device: torch.device) -> None:
        """Move everything to a device, in the precision of the settings."""

    @abstractmethod
    def losses(self, model: nn.Module, batch: Any, step: int) -> torch.Tensor:
        """The loss of each clip, (b,); `model` is `self.model`, wrapped for several workers."""

    @abstractmethod
    def heldout_figures(self, samples: Sequence[int]) -> Sequence[Figures]:
        """The figures, `loss` among them, of each of the given held-out samples."""

    @abstractmethod
    def reset_temporal_layers(self) -> None:
        """Give the model fresh temporal layers, which change nothing."""

    def after_step(self, group: Group, step: int) -> Figures:
        """What is left to do after a step, one that changed nothing too, and figures to log with it."""
        return {}

    def sample_videos(self) -> dict[str, bytes]:
        """An mp4 for each of a few fixed prompts and seeds, made with the weights as they are."""
        return {}

    def state(self) -> dict[str, Any]:
        """What has been learned beside the model's parameters."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        assert not state
