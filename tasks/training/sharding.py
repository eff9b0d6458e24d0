"""A model that does not fit one device, sharded over the workers (FSDP2), and its weights gathered and put back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import nn


def shard(model: nn.Module, block_classes: tuple[type[nn.Module], ...], mesh: Any = None) -> None:
    """Shards a model in place over the ranks of `mesh` (a DeviceMesh; None: all of them), frozen weights too.

    Each module of `block_classes` gathers its weights for its own pass; what lies outside goes together. Make the
    optimizer afterwards: parameters become DTensors, and so do gradients, averaged over the ranks. Call the model
    itself, not its parts. Every rank has to hold the same weights.
    """
    from torch.distributed.fsdp import fully_shard

    for module in model.modules():
        if module is not model and isinstance(module, block_classes):
            fully_shard(module, mesh=mesh)
    fully_shard(model, mesh=mesh)


def full_state(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Whole tensors on the CPU of rank 0, an empty dict elsewhere; every rank has to call it, with the same names.

    One tensor is whole at a time on the other ranks. Tensors that are not sharded are taken as they are.
    """
    from torch.distributed.tensor import DTensor

    whole: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        full = tensor.detach()
        if isinstance(full, DTensor):
            full = full.full_tensor()
        if dist.get_rank() == 0:
            whole[name] = full.to("cpu", copy=True)
    return whole


@torch.no_grad()
def load_full_state(tensors: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor]) -> None:
    """Puts what `full_state` gathered back into tensors of the same names, sharded or not.

    Every rank has to call it; `state` is read on rank 0 alone. Raises KeyError there for a missing name.
    """
    from torch.distributed.tensor import DTensor, distribute_tensor

    for name, tensor in tensors.items():
        full = torch.empty(tensor.shape, dtype=tensor.dtype, device=tensor.device)
        if dist.get_rank() == 0:
            full.copy_(state[name])
        if isinstance(tensor, DTensor):
            tensor.copy_(distribute_tensor(full, tensor.device_mesh, tensor.placements))
        else:
            dist.broadcast(full, 0)
            tensor.copy_(full)
