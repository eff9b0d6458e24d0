"""Measures what one video costs: time per frame, the wait for its first frames, and memory at its peak."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import torch

from tasks.cluster import ensure_ray
from tasks.generation.asked import AskedVideos
from tasks.generation.generate import stream_batch
from tasks.generation.settings import SamplingSettings
from tasks.peak_memory import PeakMemory

THREADS = 1
"""Of torch, always: a time is compared with others."""


@dataclass(frozen=True)
class Cost:
    """Of one video; bytes are what sampling added to a process (on a GPU: to its memory) that had loaded the model.

    `problem` says why there are no numbers.
    """

    device: str
    frames: int = 0
    seconds: float | None = None
    first_frames_s: float | None = None
    peak_bytes: int | None = None
    problem: str | None = None

    @property
    def seconds_per_frame(self) -> float | None:
        """The whole time over all frames."""
        return None if self.seconds is None else self.seconds / self.frames


def measure_cost(model_dir: Path, prompt: str, seed: int, num_clips: int, sampling: SamplingSettings) -> Cost:
    """Samples one video in a fresh process on Ray, and returns what it took."""
    ensure_ray()
    num_gpus = 1 if ray.cluster_resources().get("GPU", 0) >= 1 else 0
    task = ray.remote(num_cpus=1, num_gpus=num_gpus, max_calls=1, max_retries=0)(_cost)
    try:
        cost: Cost = ray.get(task.remote(model_dir, prompt, seed, num_clips, sampling))
    except (ray.exceptions.OutOfMemoryError, ray.exceptions.WorkerCrashedError):
        return Cost("GPU" if num_gpus else "CPU", problem="out of memory")
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    return cost


def _cost(model_dir: Path, prompt: str, seed: int, num_clips: int, sampling: SamplingSettings) -> Cost:
    torch.set_num_threads(THREADS)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    # A first clip loads the model and makes the libraries' own buffers.
    short = sampling.model_copy(update={"num_inference_steps": 1})
    _drain(stream_batch(AskedVideos(model_dir, [prompt], [seed], 1, short)))
    asked = AskedVideos(model_dir, [prompt], [seed], num_clips, sampling)
    memory = PeakMemory(device)
    started_s = time.perf_counter()
    try:
        frames, first_s = _drain(stream_batch(asked))
    except (torch.OutOfMemoryError, MemoryError):
        return Cost(name, problem="out of memory")
    seconds = time.perf_counter() - started_s
    return Cost(name, frames, seconds, first_s - started_s, memory.grown_bytes())


def _drain(clips: Any) -> tuple[int, float]:
    """Lets every clip go as a writer would; returns the number of frames, and when the first were there."""
    frames, first_s = 0, 0.0
    for clip_bnhwc in clips:
        first_s = first_s or time.perf_counter()
        frames += clip_bnhwc.shape[1]
    return frames, first_s
