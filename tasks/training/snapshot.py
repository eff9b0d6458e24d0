"""What of a training lies in a checkpoint, taken from its parts and put back into them, sharded or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils._pytree import tree_map_only

from tasks.training.devices import Group
from tasks.training.optimizers import Ema, load_weights

_PART = "trainee"  # the name that it has in the checkpoints of earlier versions


def snapshot(
    trained: Mapping[str, nn.Parameter],
    ema: Ema,
    optimizer: torch.optim.Optimizer,
    part_state: Mapping[str, Any],
    group: Group,
) -> dict[str, Any]:
    """Returns copies, in main memory, of all that changes in a training; every worker calls it, the first gets them.

    `part_state` is what the part has learned beside its parameters.
    """
    changing = {
        "trained": {name: parameter.detach() for name, parameter in trained.items()},
        "ema": ema.weights,
        "optimizer": optimizer.state_dict(),
        _PART: part_state,
    }

    def copy(tensor: torch.Tensor) -> torch.Tensor:
        full = whole(tensor.detach())
        return full.to("cpu", copy=True) if group.rank == 0 else full.new_empty(0)

    return tree_map_only(torch.Tensor, copy, changing) | {"rng": group.gather(_rng_state())}


def restore(
    saved: Mapping[str, Any],
    trained: Mapping[str, nn.Parameter],
    ema: Ema,
    optimizer: torch.optim.Optimizer,
    group: Group,
) -> Mapping[str, Any]:
    """Puts what `snapshot` gave back, on any number of workers; returns its `part_state`."""
    for place, values in ((trained, saved["trained"]), (ema.weights, saved["ema"])):
        load_weights(place, {name: part_like(value, place[name]) for name, value in values.items()})
    optimizer.load_state_dict(_parts_of(saved["optimizer"], list(trained.values())))
    if len(saved["rng"]) == group.size:
        _set_rng_state(saved["rng"][group.rank])
    part_state: Mapping[str, Any] = saved[_PART]
    return part_state


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """Returns a tensor as it is on all ranks together, on every one of them; every rank has to call it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def part_like(full: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    """Returns this rank's part of a whole tensor, sharded as another one is, if it is; every rank has to call it."""
    if not isinstance(tensor, DTensor):
        return full
    return distribute_tensor(full.to(tensor.device), tensor.device_mesh, tensor.placements)


def _parts_of(state: Mapping[str, Any], parameters: Sequence[nn.Parameter]) -> dict[str, Any]:
    """Returns an optimizer's state with what it holds per element sharded as the parameters are."""
    parts = {
        number: {
            name: part_like(value, parameters[number]) if value.shape == parameters[number].shape else value
            for name, value in values.items()
        }
        for number, values in state["state"].items()
    }
    return {**state, "state": parts}


def _rng_state() -> dict[str, torch.Tensor]:
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def _set_rng_state(state: Mapping[str, torch.Tensor]) -> None:
    torch.set_rng_state(state["cpu"].cpu())
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())
