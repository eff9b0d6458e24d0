"""The running average of the trained weights, which is what a training hands out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class Ema:
    """An exponential moving average of named parameters.

    It warms up: after step s (from 0) the decay is at most (1 + s) / (10 + s), so that a short training is
    not averaged with its start.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self.decay = decay
        self._parameters = parameters
        self.weights = {name: parameter.detach().clone() for name, parameter in parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move towards the parameters after step `step`."""
        decay = min(self.decay, (1 + step) / (10 + step)) if self.decay else 0.0
        update = get_ema_multi_avg_fn(decay)  # on a GPU a few launches, not one for each parameter
        update(list(self.weights.values()), list(self._parameters.values()), None)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Put the average into the model for as long as the block runs."""
        with restored(self._parameters):
            load_weights(self._parameters, self.weights)
            yield


@contextmanager
def restored(parameters: Mapping[str, nn.Parameter]) -> Iterator[None]:
    """Give parameters back the values that they had before the block."""
    before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    try:
        yield
    finally:
        load_weights(parameters, before)


@torch.no_grad()
def load_weights(parameters: Mapping[str, torch.Tensor], weights: Mapping[str, torch.Tensor]) -> None:
    """Copy values into the tensors of the same names."""
    for name, value in weights.items():
        parameters[name].copy_(value)
