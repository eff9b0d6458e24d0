"""The optimizer and its learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from tasks.errors import RequestError
from tasks.training.settings import TrainingSettings


def make_optimizer(parameters: Iterable[nn.Parameter], settings: TrainingSettings) -> torch.optim.Optimizer:
    """AdamW over the trained parameters; RequestError when the 8-bit one is not installed."""
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
    """Set and return the learning rate of a step."""
    lr = settings.lr * lr_factor(step, settings.warmup_steps, settings.steps)
    for group in optimizer.param_groups:
        # An optimizer that compiles its step keeps the rate in a tensor.
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr
    return lr


def lr_factor(step: int, warmup_steps: int, steps: int) -> float:
    """Linear warm-up over `warmup_steps`, then half a cosine down to zero at `steps`."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / max(1, steps - warmup_steps)))
