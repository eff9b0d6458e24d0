"""How many clips of a video are sampled at once: windows of them, each as one batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

import torch

from vidrd_model.errors import ModelError

Item = TypeVar("Item")

# 16 clips of 8 frames of 256 x 256 pixels: by the arithmetic of a pass, not yet by a measurement.
_GPU_VALUES = 16 * 8 * 32 * 32


def default_clips_at_once(device: torch.device, num_videos: int, shape_cnhw: tuple[int, ...]) -> int:
    """How many, where nobody says: as many as fill a GPU, one on other devices, which one clip keeps busy.

    It hangs on kinds and sizes alone, never on what memory is free: a video must not depend on who else is there.
    """
    if device.type != "cuda":
        return 1
    _, n, h, w = shape_cnhw
    return max(1, min(16, _GPU_VALUES // (num_videos * n * h * w)))


def window_sizes(clips_at_once: int, first_window: int | None = None) -> Iterator[int]:
    """The sizes of the windows, without an end: from the first one, each twice the one before, up to `clips_at_once`.

    Raises ModelError for sizes below 1, and for a first window that is larger than the others.
    """
    if clips_at_once < 1:
        raise ModelError(f"clips_at_once must be at least 1, not {clips_at_once}")
    if first_window is not None and not 1 <= first_window <= clips_at_once:
        raise ModelError(f"first_window must lie in 1..{clips_at_once}, clips_at_once, not {first_window}")
    return _doubled(clips_at_once, first_window or clips_at_once)


def _doubled(largest: int, size: int) -> Iterator[int]:
    while True:
        yield size
        size = min(2 * size, largest)


def windows_of(num_clips: int, sizes: Iterator[int], loop: bool) -> Iterator[list[int]]:
    """The numbers of a video's clips in windows of these sizes.

    A loop's last clip is alone in its window: a scheduler that corrects treats its frames in another way.
    """
    closing = [[num_clips - 1]] if loop else []
    yield from in_windows(range(num_clips - len(closing)), sizes)
    yield from closing


def in_windows(items: Iterable[Item], sizes: Iterator[int]) -> Iterator[list[Item]]:
    """The items in windows of these sizes; the last one may be short."""
    rest = iter(items)
    while window := list(islice(rest, next(sizes))):
        yield window
