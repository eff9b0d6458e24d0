"""A model that does not fit one device, sharded over the workers (FSDP2), and tensors gathered and put back."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor


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


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor as it is on all ranks together, on every one of them; every rank has to call it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def part_like(full: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    """This rank's part of a whole tensor, sharded as another one is, if it is; every rank has to call it."""
    if not isinstance(tensor, DTensor):
        return full
    return distribute_tensor(full.to(tensor.device), tensor.device_mesh, tensor.placements)
