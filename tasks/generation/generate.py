"""Samples videos from a model folder as tasks on Ray: whole, or clip by clip as they are done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tasks.generation.settings import SCHEDULERS, SamplingSettings
from tasks.progress import OnProgress
from vidrd_model.errors import ModelError

if TYPE_CHECKING:
    import ray

    from vidrd_model import VidRDPipeline

Prompt = str | Sequence[str]

# Clips that a batch may be ahead of whoever writes them, so that a long video does not pile up in Ray's memory.
_CLIPS_AHEAD = 4


def stream_batch(
    model_dir: Path | str,
    prompts: Sequence[Prompt],
    seeds: Sequence[int],
    num_clips: int,
    sampling: SamplingSettings,
) -> Iterator[np.ndarray]:
    """Yields uint8 (b, n, h, w, 3) for each clip of the batch as soon as it is sampled."""
    from vidrd_model import VidRDPipeline
    from vidrd_model.baselines import stream_freenoise, stream_overlap

    pipe = _load_pipeline(str(model_dir), sampling.scheduler, sampling.dtype, sampling.compile)
    methods: dict[str, Callable[..., Iterator[np.ndarray]]] = {
        "vidrd": VidRDPipeline.stream,
        "overlap": stream_overlap,
        "freenoise": stream_freenoise,
    }
    yield from methods[sampling.method](
        pipe,
        list(prompts),
        num_clips,
        seed=list(seeds),
        output_type="uint8",
        **sampling.pipeline_arguments(),
    )


def stream_on_ray(
    model_dir: Path,
    prompts: Sequence[Prompt],
    seeds: Sequence[int],
    num_clips: int,
    sampling: SamplingSettings,
    on_progress: OnProgress | None = None,
) -> Iterator[tuple[int, np.ndarray | None]]:
    """Yields (index of the prompt, frames (n, h, w, 3)) for each clip, and (index, None) when a video is complete.

    A video's clips come in their order, those of several videos mixed. Batches have a fixed size and every prompt its
    own seed, so a video is the same on any number of workers of the running Ray session.
    """
    import ray

    num_gpus = 1 if ray.cluster_resources().get("GPU", 0) >= 1 else 0
    sample = ray.remote(
        num_returns="streaming",
        num_gpus=num_gpus,
        max_retries=2,
        _generator_backpressure_num_objects=_CLIPS_AHEAD,
    )(stream_batch)
    size = sampling.prompts_per_batch
    running = {
        sample.remote(str(model_dir), prompts[i : i + size], seeds[i : i + size], num_clips, sampling): i
        for i in range(0, len(prompts), size)
    }
    done, total = 0, len(prompts) * num_clips
    while running:
        (stream,), _ = ray.wait(list(running), num_returns=1)
        start = running[stream]
        try:
            clips_bnhwc = _fetched(next(stream))
        except StopIteration:
            del running[stream]
            for index in range(start, min(start + size, len(prompts))):
                yield index, None
            continue
        yield from enumerate(clips_bnhwc, start)
        done = min(done + len(clips_bnhwc), total)
        if on_progress is not None:
            on_progress(done, total, "clips sampled")


def _fetched(clips: ray.ObjectRef) -> np.ndarray:
    """The frames; an error of the model is raised as it is, any other with the worker's traceback."""
    import ray

    try:
        return ray.get(clips)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, ModelError):
            raise error.cause from None
        raise


def generate_on_ray(
    model_dir: Path,
    prompts: Sequence[Prompt],
    seeds: Sequence[int],
    num_clips: int,
    sampling: SamplingSettings,
    on_progress: OnProgress | None = None,
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (index of the prompt, frames (frames, h, w, 3)) of whole videos as they are done; see `stream_on_ray`."""
    clips: dict[int, list[np.ndarray]] = {}
    for index, frames_nhwc in stream_on_ray(model_dir, prompts, seeds, num_clips, sampling, on_progress):
        if frames_nhwc is None:
            yield index, np.concatenate(clips.pop(index))
        else:
            clips.setdefault(index, []).append(frames_nhwc)


@lru_cache(maxsize=1)
def _load_pipeline(model_dir: str, scheduler: str | None, dtype: str, compiled: bool) -> VidRDPipeline:
    """Loads a model once per worker process: the batches of one run land on the same few workers."""
    import diffusers
    import torch

    from vidrd_model import VidRDPipeline

    pipe = VidRDPipeline.from_pretrained(model_dir, dtype=getattr(torch, dtype))
    pipe.set_progress_bar_config(disable=True)  # progress is counted in clips, over all workers
    if scheduler is not None:
        pipe.scheduler = getattr(diffusers, SCHEDULERS[scheduler]).from_config(pipe.scheduler.config)
    if torch.cuda.is_available():
        pipe.to("cuda")
    if compiled:
        pipe.compile()
    return pipe
