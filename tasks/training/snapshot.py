"""What of a training lies in a checkpoint, taken from its parts and put back into them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils._pytree import tree_map_only

from tasks.training.ema import Ema, load_weights

if TYPE_CHECKING:
    from tasks.training.distributed import Group
    from tasks.training.trainee import Trainee


def snapshot(
    trained: Mapping[str, nn.Parameter],
    ema: Ema,
    optimizer: torch.optim.Optimizer,
    trainee: Trainee,
    group: Group,
) -> dict[str, Any]:
    """Copies, in main memory, of all that changes in a training; every worker has to take part."""
    changing = {
        "trained": {name: parameter.detach() for name, parameter in trained.items()},
        "ema": ema.weights,
        "optimizer": optimizer.state_dict(),
        "trainee": trainee.state(),
    }
    return tree_map_only(torch.Tensor, _copy, changing) | {"rng": group.gather(_rng_state())}


def restore(
    saved: Mapping[str, Any],
    trained: Mapping[str, nn.Parameter],
    ema: Ema,
    optimizer: torch.optim.Optimizer,
    trainee: Trainee,
    group: Group,
) -> None:
    """Put what `snapshot` gave back into the parts of a training, on any number of workers."""
    load_weights(trained, saved["trained"])
    load_weights(ema.weights, saved["ema"])
    optimizer.load_state_dict(saved["optimizer"])
    trainee.load_state(saved["trainee"])
    if len(saved["rng"]) == group.size:
        _set_rng_state(saved["rng"][group.rank])


def _copy(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().to("cpu", copy=True)


def _rng_state() -> dict[str, torch.Tensor]:
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def _set_rng_state(state: Mapping[str, torch.Tensor]) -> None:
    torch.set_rng_state(state["cpu"].cpu())
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())
