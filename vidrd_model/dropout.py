"""Dropout whose mask belongs to a clip: neither its batch, nor the rank, the device or a restart changes it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

# SplitMix64: a counter that steps by GOLDEN, and a finaliser that spreads every bit of it over 64.
_GOLDEN, _MULTIPLIERS, _SHIFTS = 0x9E3779B97F4A7C15, (0xBF58476D1CE4E5B9, 0x94D049BB133111EB), (30, 27, 31)
_GOLDEN_INVERSE = pow(_GOLDEN, -1, 1 << 64)

# A 64-bit word decides about four values, 16 bits each.
_LANES, _LANE_VALUES = 4, 2**16

# One for the process, not for a thread: a backward pass recomputes in a thread of its own, and torch.compile guards it.
_mixed_keys_b: torch.Tensor | None = None


class KeyedDropout(nn.Module):
    """Dropout that under `dropout_keys` takes each clip's mask from (key, layer, element) and else is nn.Dropout.

    The batch's first axis is the clips, or clips and frames folded: (b, ...) or (b n, ...). p is rounded to 1 / 65536.
    `number_dropouts` tells the layers of a model apart; nothing of this is in a state dict.
    """

    layer: torch.Tensor

    def __init__(self, p: float):
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"dropout must be in [0, 1), not {p}")
        self.p = p
        # A tensor, since torch.compile would make a version of the block per number.
        self.register_buffer("layer", torch.zeros((), dtype=torch.int64), persistent=False)

    def extra_repr(self) -> str:
        """The rate, in the model's print."""
        return f"p={self.p}"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Zeroes values and scales the rest up, in training mode; raises ValueError for keys of another batch."""
        if not self.training or self.p == 0:
            return x
        if _mixed_keys_b is None:
            return F.dropout(x, self.p)
        dropped = min(round(self.p * _LANE_VALUES), _LANE_VALUES - 1)
        keep = _keep_mask(_mixed_keys_b.to(x.device) + self.layer, x, dropped)
        return torch.where(keep, x * (_LANE_VALUES / (_LANE_VALUES - dropped)), 0.0)


@contextmanager
def dropout_keys(keys_b: torch.Tensor | None) -> Iterator[None]:
    """Within the block, `KeyedDropout` draws by these keys, int64, one per clip of the batch; None: by chance.

    Raises ValueError for keys of another shape or dtype.
    """
    if keys_b is not None and (keys_b.dim() != 1 or keys_b.dtype != torch.int64):
        raise ValueError(f"dropout keys are (b,) int64, not {tuple(keys_b.shape)} {keys_b.dtype}")
    with _mixed_keys(None if keys_b is None else _finalise(keys_b * _signed(_GOLDEN))):
        yield


def has_keys() -> bool:
    """Whether `dropout_keys` is in force."""
    return _mixed_keys_b is not None


def with_present_keys(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` with the keys of now whenever it runs: checkpointing runs it again in the backward pass."""
    keys_b = _mixed_keys_b
    if keys_b is None or torch.compiler.is_compiling():  # compiled, the keys are an input of the graph
        return function

    def run(*args: Any) -> Any:
        with _mixed_keys(keys_b):
            return function(*args)

    return run


def number_dropouts(model: nn.Module) -> None:
    """Gives each KeyedDropout of a model a number made of its name, the same in every copy of the model."""
    for name, module in model.named_modules():
        if isinstance(module, KeyedDropout):
            digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
            module.layer.fill_(int.from_bytes(digest, "little", signed=True))


@contextmanager
def _mixed_keys(mixed_keys_b: torch.Tensor | None) -> Iterator[None]:
    global _mixed_keys_b
    before, _mixed_keys_b = _mixed_keys_b, mixed_keys_b
    try:
        yield
    finally:
        _mixed_keys_b = before


def _keep_mask(starts_b: torch.Tensor, x: torch.Tensor, dropped: int) -> torch.Tensor:
    """What stays of `x`, a bool of its shape; `dropped` of 65536 values go."""
    rows, channels, *inner = x.shape
    clips = starts_b.shape[0]
    if rows % clips:
        raise ValueError(f"{clips} dropout keys do not fit a batch of {rows}")
    values = x.numel() // clips
    # start + counter * GOLDEN, modulo 2**64, with the sum first: compiled for a GPU, a counter alone is an index of
    # 32 bits, which GOLDEN does not fit.
    counters = torch.arange(-(-values // _LANES), device=x.device)
    words = (counters + (starts_b * _signed(_GOLDEN_INVERSE))[:, None]) * _signed(_GOLDEN)
    lanes = _finalise(words).view(torch.int16)
    keep = lanes[:, :values] >= dropped - _LANE_VALUES // 2
    # Elements count channels last, as the UNet has them in memory.
    keep = keep.reshape(rows, *inner, channels).movedim(-1, 1)
    return keep.contiguous() if x.is_contiguous() else keep


def _finalise(words: torch.Tensor) -> torch.Tensor:
    for shift, multiplier in zip(_SHIFTS, _MULTIPLIERS, strict=False):
        words = _xor_shifted(words, shift).mul_(_signed(multiplier))
    return _xor_shifted(words, _SHIFTS[-1])


def _xor_shifted(words: torch.Tensor, shift: int) -> torch.Tensor:
    # PyTorch shifts the sign in, so that the bits above are masked off.
    return words.bitwise_right_shift(shift).bitwise_and_((1 << (64 - shift)) - 1).bitwise_xor_(words)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value
