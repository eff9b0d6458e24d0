"""Samples videos from a model folder in this process, clip by clip as they are done."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache

import diffusers
import numpy as np
import torch
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from tasks.generation.asked import AskedVideos
from tasks.generation.loras import WeightedLora, load_loras
from tasks.generation.settings import SCHEDULERS
from tasks.progress import OnProgress
from vidrd_model.baselines import stream_freenoise, stream_overlap
from vidrd_model.continuing import Inversion
from vidrd_model.pipeline import VidRDPipeline

_METHODS: dict[str, Callable[..., Iterator[np.ndarray]]] = {
    "vidrd": VidRDPipeline.stream,
    "overlap": stream_overlap,
    "freenoise": stream_freenoise,
}


def stream_videos(
    asked: AskedVideos, on_progress: OnProgress | None = None
) -> Iterator[tuple[int, np.ndarray | None]]:
    """Yields (index of the video, frames (n, h, w, 3)) for each clip, and (index, None) when a video is complete.

    One batch after another; a video is the same, byte for byte, as from `tasks.generation.on_ray`.
    """
    done = 0
    with sampling_quietly():
        for start, batch in asked.batches():
            for clips_bnhwc in stream_batch(batch):
                yield from enumerate(clips_bnhwc, start)
                done = min(done + len(clips_bnhwc), asked.total_clips)
                if on_progress is not None:
                    on_progress(done, asked.total_clips, "clips sampled")
            for index in range(start, start + len(batch.prompts)):
                yield index, None


def stream_batch(asked: AskedVideos) -> Iterator[np.ndarray]:
    """Yields uint8 (b, n, h, w, 3) for each clip of the videos, all in one batch, as soon as it is sampled."""
    stream = _METHODS[asked.sampling.method]
    yield from stream(load_pipeline(asked), output_type="uint8", **asked.call_arguments())


def invert_frames(asked: AskedVideos, frames_nhwc: np.ndarray) -> Inversion:
    """What the last frames of a video, uint8 (n, h, w, 3), or one picture would have been sampled from."""
    settings = asked.sampling
    pipe = load_pipeline(asked)
    with sampling_quietly():
        return pipe.invert(
            frames_nhwc,
            list(asked.prompts),
            seed=list(asked.seeds),
            num_frames=settings.num_frames,
            height=settings.height,
            width=settings.width,
            num_inference_steps=settings.num_inference_steps,
        )


def load_pipeline(asked: AskedVideos) -> VidRDPipeline:
    """The model of the videos on its device; the last one stays loaded."""
    settings = asked.sampling
    return _load_pipeline(
        str(asked.model_dir),
        settings.scheduler,
        settings.timestep_spacing,
        settings.dtype,
        settings.compile,
        asked.device,
        asked.loras,
    )


@lru_cache(maxsize=1)
def _load_pipeline(
    model_dir: str,
    scheduler: str | None,
    timestep_spacing: str | None,
    dtype: str,
    compiled: bool,
    device: str | None,
    loras: tuple[WeightedLora, ...],
) -> VidRDPipeline:
    """Loads a model once per process: the batches of one run land on the same few workers."""
    with _without_bars():
        pipe = VidRDPipeline.from_pretrained(model_dir, dtype=getattr(torch, dtype))
        load_loras(pipe, loras)
    pipe.set_progress_bar_config(disable=True)  # progress is counted in clips, over all workers
    if scheduler is not None or timestep_spacing is not None:
        kind = type(pipe.scheduler) if scheduler is None else getattr(diffusers, SCHEDULERS[scheduler])
        spaced = {} if timestep_spacing is None else {"timestep_spacing": timestep_spacing}
        pipe.scheduler = kind.from_config(pipe.scheduler.config, **spaced)
    if device is not None or torch.cuda.is_available():
        pipe.to(device or "cuda")
    if compiled:
        pipe.compile()
    return pipe


@contextmanager
def sampling_quietly() -> Iterator[None]:
    """Computes as every worker does, and says nothing that whoever asks says itself."""
    with _threads_of_a_worker(), _without_warnings():
        yield


@contextmanager
def _threads_of_a_worker() -> Iterator[None]:
    """Computes with as many threads as a worker of Ray has: with others the last bits of a frame would differ."""
    before = torch.get_num_threads()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or 1))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Keeps the library from saying which words are not read: whoever asks has `unread_texts` for it."""
    logger = logging.getLogger("vidrd_model")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def _without_bars() -> Iterator[None]:
    """Keeps the bars of loading off the terminal, where our own lines are."""
    shown = [
        module for module in (diffusers_logging, transformers_logging) if module.is_progress_bar_enabled()
    ]
    for module in shown:
        module.disable_progress_bar()
    try:
        yield
    finally:
        for module in shown:
            module.enable_progress_bar()
