"""A video's clips shared out: who samples which, and what one has to hear from whoever samples the clip before.

Noise follows from seeds alone, so everybody knows that of every clip. Only what goes into the guided steps of the clip
before has to be handed over, its last frames, each time before the very same step: so all sample at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch


class Exchange(Protocol):
    """Carries guiding frames from those who sample a clip to those who sample the next one, by its number."""

    def send(self, clip: int, step: int, frames_bcmhw: torch.Tensor) -> None:
        """Hands on the frames, on the CPU, that `clip` begins with before `step`."""

    def receive(self, clip: int, step: int) -> torch.Tensor:
        """Waits for the frames that `clip` begins with before `step`, as they were sent."""


@dataclass(frozen=True, eq=False)
class VideoShare:
    """The part of one of several workers: of every window of clips the same run of neighbours."""

    worker: int
    workers: int
    exchange: Exchange

    def run_of(self, window: Sequence[int]) -> Sequence[int]:
        """This worker's clips of a window, perhaps none."""
        return runs_of(window, self.workers)[self.worker]

    def hand_on(self, clip: int, step: int, frames_bcmhw: torch.Tensor) -> None:
        """Sends what the next clip, somebody else's, begins with before a step."""
        self.exchange.send(clip, step, frames_bcmhw.cpu())

    def past_of(self, clip: int, device: torch.device) -> RemotePast:
        """What somebody else's clip hands on to this one."""
        return RemotePast(self.exchange, clip, device)


@dataclass(frozen=True, eq=False)
class RemotePast:
    """The frames that guide a clip, step by step, each asked for when it is needed."""

    exchange: Exchange
    clip: int
    device: torch.device

    def get(self, step: int) -> torch.Tensor | None:
        """Those before `step`; none before the first, where they are the noise itself."""
        return self.exchange.receive(self.clip, step).to(self.device) if step else None


def runs_of(window: Sequence[int], workers: int) -> list[Sequence[int]]:
    """A window's clips shared out in runs of neighbours: as even as they come, the last ones perhaps empty."""
    size = -(-len(window) // workers)
    return [window[worker * size : (worker + 1) * size] for worker in range(workers)]


def owners(windows: Iterable[Sequence[int]], workers: int) -> list[int]:
    """Which worker samples each clip of the windows."""
    return [worker for window in windows for worker, run in enumerate(runs_of(window, workers)) for _ in run]
