"""Chooses the frames of clips from the times of a video's frames, whatever its frame rate does."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tasks.errors import ItemError

# Containers round times to a millisecond (Matroska): less than this is no difference.
TIME_TOLERANCE_S = 2e-3


@dataclass(frozen=True)
class Window:
    """One clip's frames: its first time and, ascending, the indices of its frames."""

    start_s: float
    indices: tuple[int, ...]


def plan_windows(times_s: Sequence[float], num_frames: int, fps: float, count: int) -> list[Window]:
    """Places up to `count` clips of `num_frames` frames at `fps` evenly over ascending frame times.

    One clip lies in the middle. Every instant takes the frame nearest in time, so a slow video
    repeats frames. Windows that would be equal are given once; none fits when the video is too short.
    """
    times = np.asarray(times_s, dtype=float)
    span_s = (num_frames - 1) / fps
    if len(times) == 0 or times[-1] - times[0] < span_s - TIME_TOLERANCE_S:
        return []
    slack_s = max(times[-1] - times[0] - span_s, 0.0)
    # A window starts on a frame: between two frames every instant would be a tie.
    last_start = int(np.searchsorted(times, times[0] + slack_s + TIME_TOLERANCE_S, side="right")) - 1
    wanted_starts = times[0] + slack_s * (np.arange(count) + 0.5) / count
    starts = np.unique(np.minimum(_nearest(times, wanted_starts), last_start))
    offsets_s = np.arange(num_frames) / fps
    return [
        Window(float(times[start]), tuple(int(index) for index in _nearest(times, times[start] + offsets_s)))
        for start in starts
    ]


def collect_frames(
    timed_frames: Iterable[tuple[float, np.ndarray]], wanted_s: Sequence[float], name: str
) -> list[np.ndarray]:
    """Takes from a stream of (time, frame) the frame nearest to each of the ascending times wanted.

    Stops reading after the last one. Raises ItemError when the stream ends before.
    """
    pending = deque(wanted_s)
    picked: list[np.ndarray] = []
    last_s, last_frame = -np.inf, None
    for time_s, frame in timed_frames:
        while pending and time_s >= pending[0] - TIME_TOLERANCE_S / 2:
            before_is_nearer = last_frame is not None and pending[0] - last_s < time_s - pending[0]
            picked.append(last_frame if before_is_nearer and last_frame is not None else frame)
            pending.popleft()
        if not pending:
            return picked
        last_s, last_frame = time_s, frame
    end = "before its first frame" if last_frame is None else f"at {last_s:.2f} s"
    raise ItemError(f"{name}: ends {end}, its index promises {wanted_s[-1]:.2f} s", stage="decode")


def _nearest(times: np.ndarray, instants: np.ndarray) -> np.ndarray:
    """Indices of the times nearest to the instants; of two equally near ones the earlier."""
    if len(times) == 1:
        return np.zeros(len(instants), dtype=int)
    after = np.clip(np.searchsorted(times, instants), 1, len(times) - 1)
    before_s, after_s = instants - times[after - 1], times[after] - instants
    return np.where(before_s <= after_s + 1e-6, after - 1, after)
