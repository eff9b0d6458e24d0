"""In which numbers and where in memory a model is trained."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from torch import nn

Precision = Literal["float32", "bfloat16"]


def place(model: nn.Module, device: torch.device, precision: Precision) -> None:
    """Move a model to a device; parameters that are not trained are kept in the precision.

    Trained ones stay in float32, which small steps need.
    """
    if precision == "bfloat16":
        for parameter in model.parameters():
            if not parameter.requires_grad:
                parameter.data = parameter.data.to(torch.bfloat16)
    model.to(device)


def channels_last(model: nn.Module) -> None:
    """Lay the weights of convolutions out as cuDNN's fast kernels want them, which else turns them in every call."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.channels_last)
        elif isinstance(module, nn.Conv3d):
            module.to(memory_format=torch.channels_last_3d)


def computing_in(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Within the block matrix products are computed in a precision."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)
