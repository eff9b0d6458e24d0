"""Finds flashes in a stream: a few odd frames between two sides that are alike."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import cv2
import numpy as np

THUMB_SIDE_PX = 16
ODD_LEVELS = 12.0  # mean difference of two thumbs, in grey levels, from which on a frame may be odd
ALIKE_PART = 1 / 3  # the sides differ by less than this part of what the odd frames differ by
MAX_WAITING = 64  # frames; only where a file's times stand still or run hundreds a second


class Seen(NamedTuple):
    """A frame that is known to be odd or not, with what came along with it."""

    number: int
    small_hwc: np.ndarray
    odd: bool


class _Waiting(NamedTuple):
    number: int
    time_s: float
    small_hwc: np.ndarray
    thumb: np.ndarray


class FlashFilter:
    """Tells odd frames from others, in order, as soon as up to `max_flash_s` of what follows is known."""

    def __init__(self, max_flash_s: float) -> None:
        self._max_flash_s = max_flash_s
        self._waiting: deque[_Waiting] = deque()
        self._before: np.ndarray | None = None

    def push(self, number: int, time_s: float, small_hwc: np.ndarray) -> list[Seen]:
        """Takes in the next frame, RGB (h, w, 3), by its number, and gives those that are decided now."""
        thumb = cv2.resize(small_hwc, (THUMB_SIDE_PX, THUMB_SIDE_PX), interpolation=cv2.INTER_AREA)
        self._waiting.append(_Waiting(number, time_s, small_hwc, thumb.astype(np.float32)))
        return self._decided(self._max_flash_s)

    def finish(self) -> list[Seen]:
        """Gives the frames that are left: what has no other side is no flash."""
        return self._decided(-1.0)

    def _decided(self, wait_s: float) -> list[Seen]:
        decided: list[Seen] = []
        while self._waiting:
            first, last = self._waiting[0], self._waiting[-1]
            change = 0.0 if self._before is None else _difference(first.thumb, self._before)
            odd = self._flash_length(change) if change >= ODD_LEVELS else 0
            if odd == 0 and change >= ODD_LEVELS:
                waited = last.time_s - first.time_s > wait_s or len(self._waiting) > MAX_WAITING
                if not waited:
                    break
            for _ in range(odd):
                frame = self._waiting.popleft()
                decided.append(Seen(frame.number, frame.small_hwc, odd=True))
            if odd == 0:
                self._waiting.popleft()
                self._before = first.thumb
                decided.append(Seen(first.number, first.small_hwc, odd=False))
        return decided

    def _flash_length(self, change: float) -> int:
        """How many waiting frames come before one that is like the frame before them; 0 if there is none in time."""
        for length, frame in enumerate(self._waiting):
            if frame.time_s - self._waiting[0].time_s > self._max_flash_s:
                break
            difference = _difference(frame.thumb, self._before)
            if difference < min(ODD_LEVELS, change * ALIKE_PART):
                return length
            change = max(change, difference)
        return 0


def _difference(thumb: np.ndarray, other: np.ndarray | None) -> float:
    return 0.0 if other is None else float(np.abs(thumb - other).mean())
