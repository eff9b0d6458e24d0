"""Seconds and memory on the device that a part runs on."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

RUNS = 7


def in_turn(works: dict[str, Callable[[], Any]], runs: int = RUNS) -> dict[str, float]:
    """The median seconds of each work, after one to warm up, all works once before any runs again."""
    taken_s: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(runs + 1):
        for name, work in works.items():
            wait()
            started_s = time.perf_counter()
            work()
            wait()
            if turn:
                taken_s[name].append(time.perf_counter() - started_s)
    return {name: statistics.median(seconds) for name, seconds in taken_s.items()}


def wait() -> None:
    """Until the device has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def begin_memory() -> None:
    """The peak is measured from here on."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peak_memory() -> str:
    """Of the device since `begin_memory`."""
    return f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB" if torch.cuda.is_available() else "-"


def matrix_product_flops_per_s(device: str, dtype: torch.dtype) -> float:
    """What the device reaches in one large product of matrices."""
    size = 8192 if device == "cuda" else 512
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    return 2 * size**3 / in_turn({"": lambda: left @ right})[""]
