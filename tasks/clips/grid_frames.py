"""Keeps, out of a stream, the frames at which a clip of a shot may look: those nearest to a grid of instants."""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from tasks.clips.reading import Decoded
from tasks.clips.resizing import Resizer
from tasks.clips.sampling import TIME_TOLERANCE_S, NearestFrames

# No clip spans a longer gap between two frames: a broken time stamp would fill years with one frame.
MAX_GAP_S = 5.0


@dataclass(frozen=True)
class GridFrame:
    """An instant of the grid, the number of the frame nearest to it, and that frame, RGB (h, w, 3)."""

    instant: int
    index: int
    frame_hwc: np.ndarray


class GridFrames:
    """The frames at the instants `k / rate_hz` that are still wanted, in order; all others are never resized."""

    def __init__(self, resizer: Resizer, rate_hz: float) -> None:
        self._resizer, self._rate_hz = resizer, rate_hz
        self._picker: NearestFrames[tuple[int, Decoded]] | None = None
        self._next_instant = 0
        self._kept: deque[GridFrame] = deque()

    def push(self, index: int, decoded: Decoded) -> None:
        """Takes in the next frame of the stream, by its number."""
        last_s = None if self._picker is None else self._picker.last_s
        if self._picker is None or last_s is None or decoded.time_s - last_s > MAX_GAP_S:
            self.finish()
            self._next_instant = math.ceil((decoded.time_s - TIME_TOLERANCE_S) * self._rate_hz)
            instants_s = (instant / self._rate_hz for instant in itertools.count(self._next_instant))
            self._picker = NearestFrames(instants_s)
        self._keep(self._picker.push(decoded.time_s, (index, decoded)))

    def finish(self) -> None:
        """Says that there are no more frames."""
        if self._picker is not None:
            self._keep(self._picker.finish())

    def forget_before(self, index: int) -> None:
        """Drops the frames with smaller numbers."""
        while self._kept and self._kept[0].index < index:
            self._kept.popleft()

    def runs(self, first: int, stop: int, odd: Collection[int]) -> list[list[GridFrame]]:
        """Gives the frames numbered `first` to `stop - 1`, parted at odd ones and where instants lack."""
        runs: list[list[GridFrame]] = []
        next_instant = None
        for frame in self._kept:
            if first <= frame.index < stop and frame.index not in odd:
                if frame.instant != next_instant:
                    runs.append([])
                runs[-1].append(frame)
                next_instant = frame.instant + 1
        return runs

    def _keep(self, taken: list[tuple[int, Decoded]]) -> None:
        for index, decoded in taken:
            last = self._kept[-1] if self._kept else None
            again = last is not None and last.index == index
            frame_hwc = last.frame_hwc if last is not None and again else self._resizer.upright(decoded)
            self._kept.append(GridFrame(self._next_instant, index, frame_hwc))
            self._next_instant += 1
