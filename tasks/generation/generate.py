"""Samples videos from a model folder, in this process or as tasks on Ray, and writes them as mp4."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tasks.clips.ffmpeg import write_mp4
from tasks.generation.contact_sheet import write_contact_sheet
from tasks.generation.settings import SamplingSettings

if TYPE_CHECKING:
    from vidrd_model import VidRDPipeline

OnProgress = Callable[[int, int | None, str], None]


@dataclass(frozen=True)
class GeneratedVideo:
    """A video on disk and what makes it again."""

    prompt: str
    seed: int
    mp4: Path
    contact_sheet: Path
    num_clips: int
    num_frames: int
    fps: float


def generate_video(
    pipe: VidRDPipeline, prompt: str, num_clips: int, seed: int, sampling: SamplingSettings, out_mp4: Path
) -> GeneratedVideo:
    """Samples one video with a loaded pipeline and writes the mp4 and its contact sheet beside it."""
    frames_bnhwc = pipe([prompt], num_clips=num_clips, seed=[seed], **sampling.pipeline_arguments()).frames
    return write_video(frames_bnhwc[0], prompt, seed, num_clips, sampling.fps, out_mp4)


def generate_batch(
    model_dir: Path | str,
    prompts: Sequence[str],
    seeds: Sequence[int],
    num_clips: int,
    sampling: SamplingSettings,
) -> np.ndarray:
    """Samples one video per prompt, uint8 (b, frames, h, w, 3); usable as the body of a Ray task."""
    return np.concatenate(list(stream_batch(model_dir, prompts, seeds, num_clips, sampling)), axis=1)


def stream_batch(
    model_dir: Path | str,
    prompts: Sequence[str],
    seeds: Sequence[int],
    num_clips: int,
    sampling: SamplingSettings,
) -> Iterator[np.ndarray]:
    """Yields uint8 (b, n, h, w, 3) for each clip of the batch as soon as it is sampled."""
    pipe = _load_pipeline(str(model_dir))
    yield from pipe.stream(
        list(prompts), num_clips=num_clips, seed=list(seeds), **sampling.pipeline_arguments()
    )


def generate_on_ray(
    model_dir: Path,
    prompts: Sequence[str],
    seeds: Sequence[int],
    num_clips: int,
    sampling: SamplingSettings,
    on_progress: OnProgress | None = None,
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (index of the prompt, frames (frames, h, w, 3)) as batches finish on the running Ray session.

    Batches have a fixed size and every prompt its own seed, so a video is the same on any number of workers.
    """
    import ray

    num_gpus = 1 if ray.cluster_resources().get("GPU", 0) >= 1 else 0
    sample = ray.remote(num_returns="streaming", num_gpus=num_gpus, max_retries=2)(stream_batch)
    size = sampling.prompts_per_batch
    starts = list(range(0, len(prompts), size))
    running = {
        sample.remote(str(model_dir), prompts[i : i + size], seeds[i : i + size], num_clips, sampling): i
        for i in starts
    }
    clips: dict[int, list[np.ndarray]] = {start: [] for start in starts}
    done, total = 0, len(prompts) * num_clips
    while running:
        (stream,), _ = ray.wait(list(running), num_returns=1)
        start = running[stream]
        try:
            clips_bnhwc = ray.get(next(stream))
        except StopIteration:
            del running[stream]
            frames_bnhwc = np.concatenate(clips.pop(start), axis=1)
            yield from enumerate(frames_bnhwc, start)
            continue
        clips[start].append(clips_bnhwc)
        done += len(clips_bnhwc)
        if on_progress is not None:
            on_progress(done, total, "clips sampled")


def write_video(
    frames_nhwc: np.ndarray, prompt: str, seed: int, num_clips: int, fps: float, out_mp4: Path
) -> GeneratedVideo:
    """Writes frames, uint8 (frames, h, w, 3), as H.264 mp4 with a contact sheet (PNG) of the same name."""
    out_mp4.parent.mkdir(parents=True, exist_ok=True)
    num_frames, height, width = frames_nhwc.shape[:3]
    write_mp4(out_mp4, iter(frames_nhwc), fps, (width, height))
    sheet = out_mp4.with_suffix(".png")
    write_contact_sheet(frames_nhwc, sheet, frames_per_clip=math.ceil(num_frames / num_clips))
    return GeneratedVideo(prompt, seed, out_mp4, sheet, num_clips, num_frames, fps)


@lru_cache(maxsize=1)
def _load_pipeline(model_dir: str) -> VidRDPipeline:
    """Loads a model once per worker process: the batches of one run land on the same few workers."""
    import torch

    from vidrd_model import VidRDPipeline

    pipe = VidRDPipeline.from_pretrained(model_dir)
    return pipe.to("cuda") if torch.cuda.is_available() else pipe
