"""What several workers of a training do together; one worker alone needs no process group."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import nn


@dataclass(frozen=True)
class Group:
    """A worker's place among the others, and its device."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over all workers of a small tensor, on every worker."""
        if self.size > 1:
            values = values.to(self.device)
            dist.all_reduce(values)
        return values

    def gather(self, value: Any) -> list[Any]:
        """What every worker gave, in the order of ranks, on every worker."""
        if self.size == 1:
            return [value]
        shares: list[Any] = [None] * self.size
        dist.all_gather_object(shares, value)
        return shares

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model as DistributedDataParallel, which averages gradients; alone, itself."""
        if self.size == 1:
            return model
        devices = [self.device] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(
            model, device_ids=devices, broadcast_buffers=False, gradient_as_bucket_view=True
        )


def synchronized(model: nn.Module, is_last: bool) -> AbstractContextManager[None]:
    """Workers average their gradients in the last micro-batch of a step only."""
    if is_last or not isinstance(model, nn.parallel.DistributedDataParallel):
        return nullcontext()
    return model.no_sync()
