"""Finds dissolves: one picture turning into another by a mixture of both that shifts steadily from frame to frame.

A camera that moves shows something else in the middle than a mixture of what it shows before and after, unless both
are alike; hence the ends of a dissolve have to be unlike, and the frames between them mixtures in the right shares.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import NamedTuple

import cv2
import numpy as np

LENGTHS_S = (0.35, 0.5, 0.7, 1.0, 1.4, 2.0)
"""Windows: in any dissolve from 0.35 to 2.5 s one of them fits or shows the whole of it."""
MARGIN_PART = 0.06  # of a window's length, taken on either side: the first shares and the last hardly show
SIDE_PART = 0.5  # of the small frames' sides: motion within the scenes shows less
LOOKED_AT = (0.5, 0.25, 0.75)  # parts of a window, the most telling first
MIN_STEPS = 4
MAX_FRAMES = 256  # in a window; only where a file's times stand still or run hundreds a second
MIN_CHANGE_LEVELS = 24.0  # mean difference of a window's ends, in grey levels
MIN_CONTRAST_LEVELS = 8.0  # deviation within either end: what leads to a plain colour is a fade
MAX_CORRELATION = 0.5
MAX_REST_PART = 0.25  # of the ends' difference: what is in a frame of neither of them
MAX_SHARE_ERROR = 0.12


class _Luma(NamedTuple):
    number: int
    time_s: float
    pixels: np.ndarray  # float32, without its mean
    mean: float
    norm: float


class DissolveFinder:
    """Names the frames of a stream that are part of a dissolve, up to 2.2 s after they came."""

    def __init__(self) -> None:
        self._frames: list[_Luma] = []  # for as long as the longest window and its margin
        self._until_s = -math.inf

    def push(self, number: int, time_s: float, small_hwc: np.ndarray) -> list[int]:
        """Takes in the next frame, RGB (h, w, 3), by its number; numbers of frames now known to be in a dissolve."""
        self._frames.append(_luma(number, time_s, small_hwc))
        kept = self._first_since(time_s - LENGTHS_S[-1] * (1 + MARGIN_PART))
        del self._frames[: max(kept, len(self._frames) - MAX_FRAMES)]
        from_s = time_s if time_s <= self._until_s else math.inf
        for length_s in LENGTHS_S:
            dissolve = self._dissolve(length_s)
            if dissolve is not None:
                from_s = min(from_s, dissolve[0] - MARGIN_PART * length_s)
                self._until_s = max(self._until_s, dissolve[1] + MARGIN_PART * length_s)
        since = self._frames[self._first_since(from_s) :]
        return [frame.number for frame in since if frame.time_s <= self._until_s]

    def _dissolve(self, length_s: float) -> tuple[float, float] | None:
        """Tells when the dissolve that a window of this length shows has begun and ends; None if it shows none."""
        end_s = self._frames[-1].time_s
        first = self._first_since(end_s - length_s - 1e-6)
        if end_s - self._frames[first].time_s < 0.8 * length_s:
            return None
        return _dissolve(self._frames, first)

    def _first_since(self, time_s: float) -> int:
        return bisect_left(self._frames, time_s, key=_time_s)


def _time_s(frame: _Luma) -> float:
    return frame.time_s


def _luma(number: int, time_s: float, small_hwc: np.ndarray) -> _Luma:
    grey_hw = cv2.cvtColor(small_hwc, cv2.COLOR_RGB2GRAY)
    smaller_hw = cv2.resize(grey_hw, None, fx=SIDE_PART, fy=SIDE_PART, interpolation=cv2.INTER_AREA)
    pixels = smaller_hw.astype(np.float32).ravel()
    mean = float(pixels.mean())
    pixels -= mean
    return _Luma(number, time_s, pixels, mean, math.sqrt(float(pixels @ pixels)))


def _dissolve(frames: list[_Luma], start: int) -> tuple[float, float] | None:
    """Between which times the frames from that one on are mixtures of it and the last; None if they are not."""
    first, last, steps = frames[start], frames[-1], len(frames) - 1 - start
    if steps < MIN_STEPS or not _are_two_pictures(first, last):
        return None
    change = _difference(last, first)
    if np.abs(change).mean() < MIN_CHANGE_LEVELS:
        return None
    shares = []
    for part in LOOKED_AT:
        frame = frames[start + round(steps * part)]
        share = _share(frame, first, last, change)
        if share is None:
            return None
        shares.append((share, frame.time_s))
    # The ends may lie in the scenes before and after: the line through the shares says where it begins and ends.
    (early, early_s), (late, late_s) = min(shares), max(shares)
    if late == early:  # of frames whose times stand still
        return None
    whole_s = (late_s - early_s) / (late - early)
    return max(first.time_s, early_s - early * whole_s), min(last.time_s, late_s + (1 - late) * whole_s)


def _are_two_pictures(first: _Luma, last: _Luma) -> bool:
    if len(first.pixels) != len(last.pixels):
        return False
    if min(first.norm, last.norm) < MIN_CONTRAST_LEVELS * math.sqrt(len(first.pixels)):
        return False
    return float(first.pixels @ last.pixels) <= MAX_CORRELATION * first.norm * last.norm


def _share(frame: _Luma, first: _Luma, last: _Luma, change: np.ndarray) -> float | None:
    """The last frame's share in this one; None if its time asks for another, or if much of it is in neither end."""
    if len(frame.pixels) != len(change):
        return None
    energy = float(change @ change)
    gone = _difference(frame, first)
    share = float(gone @ change) / energy
    rest = gone - share * change
    passed = (frame.time_s - first.time_s) / (last.time_s - first.time_s)
    if abs(share - passed) > MAX_SHARE_ERROR or float(rest @ rest) > MAX_REST_PART**2 * energy:
        return None
    return share


def _difference(frame: _Luma, other: _Luma) -> np.ndarray:
    return (frame.pixels - other.pixels) + np.float32(frame.mean - other.mean)
