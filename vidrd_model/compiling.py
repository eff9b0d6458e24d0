"""torch.compile of a model block by block."""

from __future__ import annotations

import torch
from torch import nn


def compile_blocks(model: nn.Module, kinds: tuple[type[nn.Module], ...], dynamic: bool | None = None) -> None:
    """Compiles every module of these kinds for itself when it first runs; those of one shape share what is compiled.

    That takes about half the time of compiling the model as a whole. `dynamic` is torch.compile's.
    """
    # One entry per width and kind of block; PyTorch's default of 8 would send the rest back to eager mode.
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 64)
    for module in model.modules():
        if isinstance(module, kinds):
            module.compile(dynamic=dynamic)
