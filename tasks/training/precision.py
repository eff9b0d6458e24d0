"""In which numbers a model is trained."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from torch import nn

Precision = Literal["float32", "bfloat16"]


def store_frozen(model: nn.Module, precision: Precision) -> None:
    """Keep the parameters that are not trained in a precision; trained ones stay in float32, which small steps need."""
    if precision == "float32":
        return
    for parameter in model.parameters():
        if not parameter.requires_grad:
            parameter.data = parameter.data.to(torch.bfloat16)


def computing_in(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Within the block matrix products are computed in a precision."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)
