"""Layers of which the backward pass keeps the input alone, because what is between is cheap to compute again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from vidrd_model.dropout import has_keys, with_present_keys


def recomputed(layer: Callable[..., torch.Tensor], *args: Any) -> torch.Tensor:
    """Calls `layer`, which ends in an expensive operation; the backward pass repeats all of it but that.

    Autograd keeps an operation's inputs before it runs, and recomputing stops with the last thing that was kept: so a
    convolution or a matrix product at the end is not done again. Compiled, the compiler chooses what to keep.
    """
    if not torch.is_grad_enabled() or torch.compiler.is_compiling():
        return layer(*args)
    # Without keys, dropout draws from the generator, whose state must be the same again.
    return checkpoint(with_present_keys(layer), *args, use_reentrant=False, preserve_rng_state=not has_keys())
