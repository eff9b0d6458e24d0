"""One video over several workers of Ray: of every window of clips each samples and decodes a run of neighbours.

A worker hands what guides the next clip straight to whoever samples that; whoever asks gets the frames in their order,
two windows ahead of what is written at most.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import ray
import torch
from ray.exceptions import RayActorError

from tasks.cluster import check_room
from tasks.errors import RequestError
from tasks.generation.asked import AskedVideos
from tasks.generation.mailbox import Mailbox
from tasks.generation.on_ray import fetched, gpus_of_a_worker
from tasks.progress import OnProgress
from vidrd_model.call_arguments import CallArguments
from vidrd_model.outputs import in_depth_of
from vidrd_model.seams import SeamJoiner
from vidrd_model.video_share import owners, runs_of
from vidrd_model.windows import window_sizes, windows_of

_WINDOWS_AHEAD = 2


def stream_on_workers(
    asked: AskedVideos, workers: int, on_progress: OnProgress | None = None
) -> Iterator[tuple[int, np.ndarray | None]]:
    """Yields what `tasks.generation.on_ray.stream_videos_on_ray` does, one batch of videos after another.

    A video is that of one worker, byte for byte where `clips_at_once` is 1, else up to the rounding of another batch.
    Raises RequestError when there is no room for so many workers, and naming the clips of one that is lost.
    """
    each = {"CPU": 1.0, "GPU": float(gpus_of_a_worker(asked.device))}
    check_room("workers", workers, each)
    done = 0
    for start, batch in asked.batches():
        videos = _SharedVideos(batch, workers, each)
        try:
            for clips_bnhwc in videos.shown():
                yield from enumerate(clips_bnhwc, start)
                done = min(done + len(clips_bnhwc), asked.total_clips)
                if on_progress is not None:
                    on_progress(done, asked.total_clips, "clips sampled")
        finally:
            videos.end()
        for index in range(start, start + len(batch.prompts)):
            yield index, None


class _SharedVideos:
    """A batch of videos and the workers that sample it."""

    def __init__(self, asked: AskedVideos, workers: int, each: dict[str, float]):
        self._asked = asked
        self._windows = list(_windows(asked, workers))
        owner_of = owners(self._windows, workers)
        remote = ray.remote(
            num_cpus=each["CPU"], num_gpus=each["GPU"], concurrency_groups={"hearing": 1}, max_restarts=0
        )(_ClipWorker)
        self._workers: list[Any] = [
            remote.remote(asked, worker, workers, owner_of) for worker in range(workers)
        ]
        for worker in self._workers:
            worker.meet.remote(self._workers)

    def shown(self) -> Iterator[np.ndarray]:
        """The frames (b, n, h, w, 3) of each clip that are shown, in their order."""
        joiner = _joiner(self._asked)
        running: dict[int, list[Any]] = {}
        for window in range(len(self._windows)):
            for ahead in range(window, min(window + _WINDOWS_AHEAD, len(self._windows))):
                if ahead not in running:
                    running[ahead] = [worker.next_window.remote() for worker in self._workers]
            for worker, part in enumerate(running.pop(window)):
                for frames_bnhwc in self._frames(part, window, worker):
                    shown_bnhwc = joiner.push(torch.tensor(frames_bnhwc)).numpy()
                    if shown_bnhwc.shape[1]:
                        yield shown_bnhwc
        held_bnhwc = joiner.finish()
        if held_bnhwc is not None:
            yield held_bnhwc.numpy()

    def end(self) -> None:
        """Lets the workers go, whatever they are at."""
        for worker in self._workers:
            ray.kill(worker)

    def _frames(self, part: Any, window: int, worker: int) -> list[np.ndarray]:
        try:
            frames: list[np.ndarray] = fetched(part)
            return frames
        except RayActorError as error:
            run = runs_of(self._windows[window], len(self._workers))[worker]
            clips = (
                f"clip {run[0] + 1}"
                if len(run) == 1
                else f"clips {run[0] + 1} to {run[-1] + 1}"
                if run
                else "none"
            )
            raise RequestError(
                f"workers: worker {worker} of {len(self._workers)}, which had {clips}, is gone: {_reason(error)}"
            ) from error


def _windows(asked: AskedVideos, workers: int) -> Iterator[list[int]]:
    """The clips that all workers sample at once, as each of them shares them out."""
    sizes = window_sizes(asked.sampling.clips_at_once * workers)
    return windows_of(asked.num_clips, sizes, asked.loop)


def _joiner(asked: AskedVideos) -> SeamJoiner:
    """Joins the clips as a pipeline does that samples them all."""
    call = CallArguments(output_type="uint8", **asked.call_arguments())
    joiner = SeamJoiner(call.shown_seam(asked.sampling.seam), asked.sampling.prompt_frames, asked.loop)
    if asked.edited is not None:
        joiner.end_after(len(asked.edited.frames_nhwc))
    if asked.after is not None:
        joiner.push(in_depth_of(asked.after.frames_bnhwc, "uint8"))
    return joiner


def _reason(error: RayActorError) -> str:
    """The first line that says why a worker is gone."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


class _ClipWorker:
    """One worker; it hears from its neighbour while it samples."""

    def __init__(self, asked: AskedVideos, worker: int, workers: int, owner_of: list[int]):
        self._mailbox = Mailbox()
        self._owner_of = owner_of
        self._others: list[Any] = []
        self._asked, self._worker, self._workers = asked, worker, workers
        self._windows: Iterator[list[np.ndarray]] | None = None

    def meet(self, others: list[Any]) -> None:
        """Takes the handles of all workers, itself among them."""
        self._others = others

    def next_window(self) -> list[np.ndarray]:
        """Samples and decodes its clips of the next window."""
        if self._windows is None:
            from tasks.generation.shared_clips import shared_windows
            from vidrd_model.video_share import VideoShare

            self._windows = shared_windows(self._asked, VideoShare(self._worker, self._workers, self))
        return next(self._windows)

    @ray.method(concurrency_group="hearing")
    def hear(self, clip: int, step: int, frames_bcmhw: torch.Tensor) -> None:
        """Gets what a clip of its own begins with."""
        self._mailbox.send(clip, step, frames_bcmhw)

    def send(self, clip: int, step: int, frames_bcmhw: torch.Tensor) -> None:
        """Hands on what somebody else's clip begins with."""
        self._others[self._owner_of[clip]].hear.remote(clip, step, frames_bcmhw)

    def receive(self, clip: int, step: int) -> torch.Tensor:
        """Waits for what a clip of its own begins with."""
        return self._mailbox.receive(clip, step)
