"""Samples videos as tasks on Ray; what the model needs is imported by the workers, not by whoever asks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import ray
from ray.exceptions import RayTaskError

from tasks.generation.asked import AskedVideos
from tasks.progress import OnProgress
from vidrd_model.errors import VidrdError

if TYPE_CHECKING:
    from tasks.generation.unread import UnreadText
    from vidrd_model.continuing import Inversion

# Clips that a batch may be ahead of whoever writes them, so that a long video does not pile up in Ray's memory.
_CLIPS_AHEAD = 4


def stream_videos_on_ray(
    asked: AskedVideos, on_progress: OnProgress | None = None
) -> Iterator[tuple[int, np.ndarray | None]]:
    """Yields (index of the video, frames (n, h, w, 3)) for each clip, and (index, None) when a video is complete.

    A video's clips come in their order, those of several videos mixed. Batches have a fixed size and every prompt its
    own seed, so a video is the same on any number of workers of the running Ray session.
    """
    sample = ray.remote(
        num_returns="streaming",
        num_gpus=gpus_of_a_worker(asked.device),
        max_retries=2,
        _generator_backpressure_num_objects=_CLIPS_AHEAD,
    )(_stream_batch)
    running = {sample.remote(batch): (start, len(batch.prompts)) for start, batch in asked.batches()}
    done = 0
    while running:
        (stream,), _ = ray.wait(list(running), num_returns=1)
        start, count = running[stream]
        try:
            clips_bnhwc = fetched(next(stream))
        except StopIteration:
            del running[stream]
            for index in range(start, start + count):
                yield index, None
            continue
        yield from enumerate(clips_bnhwc, start)
        done = min(done + len(clips_bnhwc), asked.total_clips)
        if on_progress is not None:
            on_progress(done, asked.total_clips, "clips sampled")


def invert_frames_on_ray(asked: AskedVideos, frames_nhwc: np.ndarray) -> Inversion:
    """What `tasks.generation.generate.invert_frames` gives, made by a worker."""
    invert = ray.remote(num_gpus=gpus_of_a_worker(asked.device))(_invert_frames)
    inversion: Inversion = fetched(invert.remote(asked, frames_nhwc))
    return inversion


def unread_texts_on_ray(model_dir: Path, texts: Sequence[tuple[str, str]]) -> list[UnreadText]:
    """What `tasks.generation.unread.unread_texts` finds, asked of a worker."""
    found: list[UnreadText] = ray.get(ray.remote(_unread_texts).remote(model_dir, texts))
    return found


def _stream_batch(asked: AskedVideos) -> Iterator[np.ndarray]:
    from tasks.generation.generate import stream_batch

    yield from stream_batch(asked)


def _invert_frames(asked: AskedVideos, frames_nhwc: np.ndarray) -> Inversion:
    from tasks.generation.generate import invert_frames

    return invert_frames(asked, frames_nhwc)


def _unread_texts(model_dir: Path, texts: Sequence[tuple[str, str]]) -> list[UnreadText]:
    from tasks.generation.unread import unread_texts

    return unread_texts(model_dir, texts)


def gpus_of_a_worker(device: str | None) -> int:
    """One where Ray has some, unless the videos are asked of the CPU."""
    return 1 if device != "cpu" and ray.cluster_resources().get("GPU", 0) >= 1 else 0


def fetched(result: ray.ObjectRef) -> Any:
    """What a worker gives; an error of ours is raised as it is, any other with the worker's traceback."""
    try:
        return ray.get(result)
    except RayTaskError as error:
        if isinstance(error.cause, VidrdError):
            raise error.cause from None
        raise
