"""How a model lies on the devices of a training: the group of workers, precision, memory layout and sharding."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import fully_shard

from tasks.training.settings import Precision


@dataclass(frozen=True)
class Group:
    """A worker's place among the others, and its device."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Returns the sum over all workers of a small tensor, on every worker."""
        if self.size > 1:
            values = values.to(self.device)
            dist.all_reduce(values)
        return values

    def gather(self, value: Any) -> list[Any]:
        """Returns what every worker gave, in the order of ranks, on every worker."""
        if self.size == 1:
            return [value]
        shares: list[Any] = [None] * self.size
        dist.all_gather_object(shares, value)
        return shares

    def wrap(self, model: nn.Module) -> nn.Module:
        """Returns the model as DistributedDataParallel, which averages gradients; alone, itself."""
        if self.size == 1:
            return model
        devices = [self.device] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(
            model, device_ids=devices, broadcast_buffers=False, gradient_as_bucket_view=True
        )


def synchronized(model: nn.Module, is_last: bool) -> AbstractContextManager[None]:
    """Lets workers average their gradients in the last micro-batch of a step only."""
    if is_last or not isinstance(model, nn.parallel.DistributedDataParallel):
        return nullcontext()
    return model.no_sync()


def shard(model: nn.Module, block_classes: tuple[type[nn.Module], ...], mesh: Any = None) -> None:
    """Shards a model in place over the ranks of `mesh` (a DeviceMesh; None: all of them), frozen weights too.

    Each module of `block_classes` gathers its weights for its own pass; what lies outside goes together. Make the
    optimizer afterwards: parameters become DTensors, and so do gradients, averaged over the ranks. Call the model
    itself, not its parts. Every rank has to hold the same weights.
    """
    for module in model.modules():
        if module is not model and isinstance(module, block_classes):
            fully_shard(module, mesh=mesh)
    fully_shard(model, mesh=mesh)


def place(model: nn.Module, device: torch.device, precision: Precision) -> None:
    """Moves a model to a device; parameters that are not trained are kept in the precision.

    Trained ones stay in float32, which small steps need.
    """
    if precision == "bfloat16":
        for parameter in model.parameters():
            if not parameter.requires_grad:
                parameter.data = parameter.data.to(torch.bfloat16)
    model.to(device)


def channels_last(model: nn.Module) -> None:
    """Lays the weights of convolutions out as cuDNN's fast kernels want them, which else turns them in every call."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.channels_last)
        elif isinstance(module, nn.Conv3d):
            module.to(memory_format=torch.channels_last_3d)


def computing_in(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Computes matrix products in a precision for as long as the block runs."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)
