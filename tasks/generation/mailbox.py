"""Frames that wait for whoever samples the next clip."""

from __future__ import annotations

import threading

import torch

from tasks.errors import RequestError

# Longer than the slowest step, and than a neighbour that loads its model or decodes its clips before it.
TIME_LIMIT_S = 600.0


class Mailbox:
    """Keeps what is sent until it is asked for, by clip and step; threads may send and wait at once.

    As the one exchange of workers that are threads of a process it serves all of them.
    """

    def __init__(self, time_limit_s: float = TIME_LIMIT_S):
        self._time_limit_s = time_limit_s
        self._frames: dict[tuple[int, int], torch.Tensor] = {}
        self._has_come = threading.Condition()

    def send(self, clip: int, step: int, frames_bcmhw: torch.Tensor) -> None:
        """Puts in the frames that `clip` begins with before `step`."""
        with self._has_come:
            self._frames[clip, step] = frames_bcmhw
            self._has_come.notify_all()

    def receive(self, clip: int, step: int) -> torch.Tensor:
        """Takes them out as soon as they are there; RequestError when they do not come."""
        with self._has_come:
            if not self._has_come.wait_for(lambda: (clip, step) in self._frames, self._time_limit_s):
                raise RequestError(
                    f"workers: clip {clip + 1} heard nothing of the clip before it for {self._time_limit_s:g} s"
                )
            return self._frames.pop((clip, step))
