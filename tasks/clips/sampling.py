"""Chooses the frames of clips from the times of a video's frames, whatever its frame rate does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, TypeVar

import numpy as np

# Containers round times to a millisecond (Matroska): less than this is no difference.
TIME_TOLERANCE_S = 2e-3
# Of two frames equally near to an instant the earlier is taken; sums of floats differ in their last digits.
TIE_S = 1e-6

Frame = TypeVar("Frame")


def plan_starts(times_s: Sequence[float], num_frames: int, fps: float, count: int) -> list[float]:
    """Gives the first times of up to `count` clips of `num_frames` frames at `fps`, evenly over ascending frame times.

    One clip lies in the middle, and each starts on a frame. Clips that would be equal are given once; none fits
    when the video is too short.
    """
    times = np.asarray(times_s, dtype=float)
    fitting = starts_that_fit(times_s, num_frames, fps)
    if not len(fitting):
        return []
    slack_s = max(times[-1] - times[0] - (num_frames - 1) / fps, 0.0)
    wanted_starts = times[0] + slack_s * (np.arange(count) + 0.5) / count
    # Between two frames every instant would be a tie.
    starts = np.unique(np.minimum(_nearest(times, wanted_starts), len(fitting) - 1))
    return fitting[starts].tolist()


def starts_that_fit(times_s: Sequence[float], num_frames: int, fps: float) -> np.ndarray:
    """Those of the ascending frame times (n,) at which a clip of `num_frames` at `fps` can start, none or more."""
    times = np.asarray(times_s, dtype=float)
    slack_s = times[-1] - times[0] - (num_frames - 1) / fps if len(times) else -np.inf
    if slack_s < -TIME_TOLERANCE_S:
        return times[:0]
    last_s = times[0] + max(slack_s, 0.0) + TIME_TOLERANCE_S
    return times[: int(np.searchsorted(times, last_s, side="right"))]


class NearestFrames(Generic[Frame]):
    """Takes from a stream of frames, in the order of their times, the one nearest to each ascending instant."""

    def __init__(self, instants_s: Iterable[float]) -> None:
        self._instants_s: Iterator[float] = iter(instants_s)
        self.pending_s: float | None = next(self._instants_s, None)
        self._last: tuple[float, Frame] | None = None

    def push(self, time_s: float, frame: Frame) -> list[Frame]:
        """Gives a frame for each instant that this frame's time decides, often none; the same frame may come again."""
        taken = []
        while self.pending_s is not None and self.pending_s <= time_s:
            last_is_nearer = self._last is not None and (
                self.pending_s - self._last[0] <= time_s - self.pending_s + TIE_S
            )
            taken.append(self._last[1] if self._last is not None and last_is_nearer else frame)
            self.pending_s = next(self._instants_s, None)
        self._last = (time_s, frame)
        return taken

    def finish(self) -> list[Frame]:
        """Frames for the instants that lie at the last frame, up to what containers round; the rest have none."""
        taken = []
        while (
            self.pending_s is not None
            and self._last is not None
            and self.pending_s <= self._last[0] + TIME_TOLERANCE_S
        ):
            taken.append(self._last[1])
            self.pending_s = next(self._instants_s, None)
        return taken

    @property
    def last_s(self) -> float | None:
        """The time of the last frame pushed."""
        return None if self._last is None else self._last[0]


def spread(count_available: int, count: int) -> list[int]:
    """Up to `count` different positions of `count_available`, evenly; one lies in the middle, at its lower half."""
    wanted = (count_available - 1) * (np.arange(count) + 0.5) / count
    return np.unique(np.ceil(wanted - 0.5).astype(int)).tolist() if count_available else []


def _nearest(times: np.ndarray, instants: np.ndarray) -> np.ndarray:
    """Indices of the times nearest to the instants; of two equally near ones the earlier."""
    if len(times) == 1:
        return np.zeros(len(instants), dtype=int)
    after = np.clip(np.searchsorted(times, instants), 1, len(times) - 1)
    before_s, after_s = instants - times[after - 1], times[after] - instants
    return np.where(before_s <= after_s + TIE_S, after - 1, after)
