"""Noise that depends on (seed, prompt, clip) alone, so that a prompt's video is the same on any worker."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch


def clip_noise(
    seeds: Sequence[int], prompts: Sequence[str], clip: int, shape_cnhw: tuple[int, ...]
) -> torch.Tensor:
    """Unit-variance noise (b, c, n, h, w) in float32, drawn on the CPU, one independent draw per video."""
    draws = []
    for seed, prompt in zip(seeds, prompts, strict=True):
        key = hashlib.blake2b(f"{seed}\n{clip}\n{prompt}".encode(), digest_size=8).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(key, "little") >> 1)
        draws.append(torch.randn(shape_cnhw, generator=generator))
    return torch.stack(draws)
