"""Counts the operations that PyTorch dispatches, which is what a GPU waits for when its kernels are short."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode


def operations(call: Callable[[], object]) -> Counter[str]:
    """How often each operation is dispatched, views left out; attention is one, as it is on a GPU."""
    counted = _Counted()
    with torch.no_grad(), counted, _FusedAttention():
        call()
    return counted.found


class _Counted(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        returned = [argument.alias_info for argument in function._schema.returns]
        name = function._schema.name.removeprefix("aten::")
        if name != "_unsafe_view" and not any(alias and not alias.is_write for alias in returned):
            self.found[name] += 1
        return function(*args, **(kwargs or {}))


class _FusedAttention(TorchFunctionMode):
    """Where tensors have no device, attention falls into parts that no GPU sees."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is not F.scaled_dot_product_attention:
            return function(*args, **(kwargs or {}))
        batch, heads, tokens, channels = args[0].shape
        return args[0].new_empty(batch, tokens, heads, channels).transpose(1, 2)
