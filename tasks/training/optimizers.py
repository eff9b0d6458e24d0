"""What turns gradients into weights: the optimizer, its learning rate, and the running average of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from tasks.errors import RequestError
from tasks.training.settings import TrainingSettings


def make_optimizer(parameters: Iterable[nn.Parameter], settings: TrainingSettings) -> torch.optim.Optimizer:
    """Returns AdamW over the trained parameters; RequestError when the 8-bit one is not installed."""
    lr, weight_decay = settings.lr, settings.weight_decay
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr, weight_decay=weight_decay, fused=settings.use_gpu or None)
    try:
        from torchao.optim import AdamW8bit
    except ImportError as error:
        raise RequestError("optimizer: adamw8bit needs torchao; install the extra optim8bit") from error
    optimizer: torch.optim.Optimizer = AdamW8bit(parameters, lr, weight_decay=weight_decay)
    return optimizer


def set_lr(optimizer: torch.optim.Optimizer, settings: TrainingSettings, step: int) -> float:
    """Sets and returns the learning rate of a step."""
    lr = settings.lr * lr_factor(step, settings.warmup_steps, settings.steps)
    for group in optimizer.param_groups:
        # An optimizer that compiles its step keeps the rate in a tensor.
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr
    return lr


def lr_factor(step: int, warmup_steps: int, steps: int) -> float:
    """Returns the factor of a linear warm-up over `warmup_steps`, then half a cosine down to zero at `steps`."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / max(1, steps - warmup_steps)))


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
        """Moves towards the parameters after step `step`."""
        decay = min(self.decay, (1 + step) / (10 + step)) if self.decay else 0.0
        update = get_ema_multi_avg_fn(decay)  # on a GPU a few launches, not one for each parameter
        update(list(self.weights.values()), list(self._parameters.values()), None)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Puts the average into the model for as long as the block runs."""
        with restored(self._parameters):
            load_weights(self._parameters, self.weights)
            yield


@contextmanager
def restored(parameters: Mapping[str, nn.Parameter]) -> Iterator[None]:
    """Gives parameters back the values that they had before the block."""
    before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    try:
        yield
    finally:
        load_weights(parameters, before)


@torch.no_grad()
def load_weights(parameters: Mapping[str, torch.Tensor], weights: Mapping[str, torch.Tensor]) -> None:
    """Copies values into the tensors of the same names."""
    for name, value in weights.items():
        parameters[name].copy_(value)
