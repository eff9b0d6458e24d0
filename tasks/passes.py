"""Forward passes of one shape, so that what a model says of a frame hangs on nothing that is beside it.

Libraries choose their kernels, and with them the order of sums, by the shape of a pass and the number of threads. So
on a CPU a pass is one clip on one thread, and several go at once; on a GPU, which a clip does not fill, it is a fixed
number of frames of as many clips as it takes, the last one padded with copies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch


@dataclass
class FrameCount:
    """Frames that a model was asked about, and those that went through it beside them to fill a last pass."""

    needed: int = 0
    padding: int = 0


class Passes:
    """Shares the frames of clips out to passes; `pass_frames` is their number, None: each clip is a pass.

    `threads` clips go at once where a clip is a pass. What went through is added to `count`.
    """

    def __init__(self, pass_frames: int | None, threads: int, count: FrameCount) -> None:
        self._pass_frames, self._threads, self._count = pass_frames, threads, count

    def run(
        self, clips: Sequence[np.ndarray], model: Callable[[torch.Tensor], torch.Tensor]
    ) -> list[np.ndarray]:
        """Gives what the model makes of the frames (n, h, w, 3) of each clip: an array with a row for each frame.

        All passes are given to a GPU before the first is waited for, so it copies frames of one while it is at another.
        """
        if not clips:
            return []
        self._count.needed += sum(len(clip) for clip in clips)
        with one_thread():
            if self._pass_frames is None:
                return self._each(clips, lambda clip: model(_sendable(clip)).cpu().numpy())
            frames_mhwc = np.concatenate(clips)
            padding = -len(frames_mhwc) % self._pass_frames
            self._count.padding += padding
            padded = np.concatenate([frames_mhwc, *[frames_mhwc[-1:]] * padding])
            parts = np.split(padded, len(padded) // self._pass_frames)
            made = torch.cat([model(_sendable(part)) for part in parts]).cpu().numpy()
        ends = np.cumsum([len(clip) for clip in clips])
        return np.split(made[: ends[-1]], ends[:-1])

    def _each(
        self, clips: Sequence[np.ndarray], model: Callable[[np.ndarray], np.ndarray]
    ) -> list[np.ndarray]:
        if min(self._threads, len(clips)) == 1:
            return [model(clip) for clip in clips]
        with ThreadPoolExecutor(self._threads, initializer=torch.set_num_threads, initargs=(1,)) as threads:
            return list(threads.map(model, clips))


def _sendable(frames_nhwc: np.ndarray) -> torch.Tensor:
    """Frames where a GPU can copy them from by itself, if there is one."""
    frames = torch.from_numpy(np.ascontiguousarray(frames_nhwc))
    return frames.pin_memory() if torch.cuda.is_available() else frames


@contextmanager
def one_thread() -> Iterator[None]:
    """Has torch use one thread in this block, as it does in every process that makes the same."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
