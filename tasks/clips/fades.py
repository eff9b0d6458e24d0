"""Tells dark frames, and how far a fade to or from black reaches into a shot."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

DARK_LEVEL = 24  # of 255; video black with the noise of compression stays under it
LIT_PART = 0.005  # a frame with more lit pixels than this is not dark: titles on black, a lamp at night
RAMP_LEVELS = 0.02  # grey levels of mean brightness that a frame of a fade is darker than its neighbour
MAX_FADE_S = 3.0


def brightness(small_hwc: np.ndarray) -> np.ndarray:
    """The brightness of each pixel, float32 (h, w), in grey levels."""
    return small_hwc @ np.array([0.299, 0.587, 0.114], np.float32)


def is_dark(brightness_hw: np.ndarray) -> bool:
    """Whether next to nothing of a frame is lit."""
    return bool(np.count_nonzero(brightness_hw >= DARK_LEVEL) <= LIT_PART * brightness_hw.size)


def ramp_length(levels: Sequence[float]) -> int:
    """How many of these frames belong to a fade; the first is the one beside the dark, with mean brightnesses.

    Away from the dark each frame of a fade is brighter than the one before; the brightest is not part of it. One
    frame may break the order, as something moves meanwhile.
    """
    length = 0
    while length + 1 < len(levels):
        if levels[length + 1] > levels[length] + RAMP_LEVELS:
            length += 1
        elif length + 2 < len(levels) and levels[length + 2] > levels[length] + 2 * RAMP_LEVELS:
            length += 2
        else:
            break
    return length
