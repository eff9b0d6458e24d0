"""Finds black frames and the fades that lead to and from them, by the mean brightness of small frames."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

DARK_LEVEL = 24  # of 255; video black with the noise of compression stays under it
LIT_PART = 0.005  # a frame with more lit pixels than this is not black: titles on black, a lamp at night
MIN_STEP_LEVELS = 0.02  # grey levels that a frame of a fade is darker than its neighbour, in the mean
MIN_SLOPE_PART = 0.2
MARGIN_PART = 0.1  # fades begin and end softly: this part of their length more is taken as fading
MAX_STILL_FRAMES = 6
MAX_FADE_S = 3.0
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


class _Level(NamedTuple):
    number: int
    time_s: float
    brightness: float


class FadeFinder:
    """Names the frames of a stream that are black or part of a fade, as soon as that is seen.

    A fade out is seen when it has reached black, up to `MAX_FADE_S` after its first frame.
    """

    def __init__(self) -> None:
        self._before: deque[_Level] = deque(maxlen=1024)  # for as long as a fade may take
        self._rising: list[_Level] | None = None  # since the last black frame, while it gets brighter

    def push(self, number: int, time_s: float, small_hwc: np.ndarray) -> list[int]:
        """Takes in the next frame, RGB (h, w, 3), by its number; numbers of frames now known to be black or fading."""
        brightness_hw = small_hwc @ LUMA
        level = _Level(number, time_s, float(brightness_hw.mean()))
        black = bool(np.count_nonzero(brightness_hw >= DARK_LEVEL) <= LIT_PART * brightness_hw.size)
        fading = [number] if black else []
        self._before.append(level)
        while time_s - self._before[0].time_s > MAX_FADE_S:
            self._before.popleft()
        if black:
            # Each black frame asks anew: only from the very end of a fade is its slope known.
            fading += _ramp(list(self._before)[::-1])
            if not self._rising or level.brightness <= self._rising[0].brightness + MIN_STEP_LEVELS:
                self._rising = []
        return fading + self._fading_in(level)

    def _fading_in(self, level: _Level) -> list[int]:
        if self._rising is None:
            return []
        self._rising.append(level)
        ramp = _ramp(self._rising)
        undecided = len(self._rising) - len(ramp) <= MAX_STILL_FRAMES
        if not undecided or level.time_s - self._rising[0].time_s > MAX_FADE_S:
            self._rising = None
        return ramp


def _ramp(levels: Sequence[_Level]) -> list[int]:
    """Numbers of the frames that belong to a fade, of frames in their order away from black.

    A fade that has come so far in so many frames goes on at a part of that slope at least; what drifts more slowly
    is the scene itself.
    """
    length = 0
    while length + 1 < len(levels):
        brightness = levels[length].brightness
        step = max(MIN_SLOPE_PART * brightness / (length + 1), MIN_STEP_LEVELS)
        # Compression lets a slow fade stand still for a few frames.
        ahead = levels[length + 1 : length + 1 + MAX_STILL_FRAMES]
        gain = next((n for n, level in enumerate(ahead, 1) if level.brightness >= brightness + n * step), 0)
        if gain == 0:
            break
        length += gain
    margin = math.ceil(length * MARGIN_PART)
    return [level.number for level in levels[: length + margin]]
