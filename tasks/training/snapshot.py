"""What of a training lies in a checkpoint, taken from its parts and put back into them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils._pytree import tree_map_only

from tasks.training.ema import Ema, load_weights
from tasks.training.sharding import part_like, whole

if TYPE_CHECKING:
    from tasks.training.devices import Group
    from tasks.training.trainee import Trainee


def snapshot(
    trained: Mapping[str, nn.Parameter],
    ema: Ema,
    optimizer: torch.optim.Optimizer,
    trainee: Trainee,
    group: Group,
) -> dict[str, Any]:
    """Copies, in main memory, of all that changes in a training; every worker takes part, the first gets it."""
    changing = {
        "trained": {name: parameter.detach() for name, parameter in trained.items()},
        "ema": ema.weights,
        "optimizer": optimizer.state_dict(),
        "trainee": trainee.state(),
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
    trainee: Trainee,
    group: Group,
) -> None:
    """Put what `snapshot` gave back into the parts of a training, on any number of workers."""
    for place, values in ((trained, saved["trained"]), (ema.weights, saved["ema"])):
        load_weights(place, {name: part_like(value, place[name]) for name, value in values.items()})
    optimizer.load_state_dict(_parts_of(saved["optimizer"], list(trained.values())))
    trainee.load_state(saved["trainee"])
    if len(saved["rng"]) == group.size:
        _set_rng_state(saved["rng"][group.rank])


def _parts_of(state: Mapping[str, Any], parameters: Sequence[nn.Parameter]) -> dict[str, Any]:
    """An optimizer's state with what it holds per element sharded as the parameters are."""
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
