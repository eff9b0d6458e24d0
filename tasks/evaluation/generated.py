"""The generated side of an evaluation: one video per reference caption, measured while others are sampled."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tasks.clips.ffmpeg import write_mp4
from tasks.errors import RequestError
from tasks.evaluation.features import CLIPS_PER_TASK, Measures, Networks, measure, remote
from tasks.evaluation.settings import EvaluationSettings, find_protocol
from tasks.generation.generate import generate_on_ray
from tasks.generation.settings import SamplingSettings
from tasks.progress import OnProgress
from vidrd_model.metrics.seams import SeamRatios, seam_ratios

NUM_SAMPLES = 8


@dataclass(frozen=True)
class Sampler:
    """How the videos of one evaluation are made: prompt i from seed + i, by one model."""

    model_dir: Path
    prompts: list[str]
    settings: EvaluationSettings
    sampling: SamplingSettings

    def seed(self, index: int) -> int:
        """The seed of one prompt's video."""
        return (self.settings.seed + index) % 2**32

    def videos(self, on_progress: OnProgress | None) -> Iterator[tuple[int, np.ndarray]]:
        """Yields (index, frames (t, h, w, 3)) as they are done; the first `seam_videos` are longer."""
        clips = math.ceil(find_protocol(self.settings.protocol).num_frames / self.sampling.num_frames)
        long, split = max(clips, self.settings.seam_clips), self.settings.seam_videos
        # Seams are measured where clips meet, so every frame has to be there.
        sampling = self.sampling.model_copy(update={"seam": "keep"})
        total = split * long + (len(self.prompts) - split) * clips
        done = 0
        for indices, length in ((range(split), long), (range(split, len(self.prompts)), clips)):
            prompts, seeds = [self.prompts[i] for i in indices], [self.seed(i) for i in indices]
            part_done = _shifted(on_progress, done, total)
            videos = generate_on_ray(self.model_dir, prompts, seeds, length, sampling, part_done)
            for position, frames_thwc in videos:
                yield indices[position], frames_thwc
            done += len(indices) * length


def _shifted(on_progress: OnProgress | None, before: int, total: int) -> OnProgress | None:
    if on_progress is None:
        return None

    def shifted(done: int, _: int | None, note: str = "") -> None:
        on_progress(before + done, total, note)

    return shifted


@dataclass
class GeneratedVideos:
    """What is kept of the videos: their measures, the seams of the long ones, and a few files to look at."""

    measures: Measures
    seams: list[SeamRatios] = field(default_factory=list)
    files: dict[int, str] = field(default_factory=dict)


def measure_generated(
    sampler: Sampler, networks: Networks, samples_dir: Path | None, on_progress: OnProgress | None = None
) -> GeneratedVideos:
    """Samples and measures all videos on the running Ray session, in the order of the prompts.

    The first videos are also written to `samples_dir`, where one is given. RequestError when the model's
    frames have another size than the settings say.
    """
    import ray

    task = remote(measure)
    num_frames = find_protocol(sampler.settings.protocol).num_frames
    generated = GeneratedVideos(Measures.empty())
    order: list[int] = []
    running: list[Any] = []
    for videos in _batched(sampler.videos(on_progress), CLIPS_PER_TASK):
        for index, frames_thwc in videos:
            _look_at(generated, index, frames_thwc, sampler, samples_dir)
            order.append(index)
        shown_bthwc = np.stack([frames_thwc[:num_frames] for _, frames_thwc in videos])
        running.append(task.remote(shown_bthwc, [sampler.prompts[index] for index, _ in videos], networks))
    parts = []
    for ref in running:
        parts.append(ray.get(ref))
        if on_progress is not None:
            on_progress(sum(len(part.motion_n) for part in parts), len(order), "generated videos measured")
    generated.measures = Measures.join(parts).take(np.argsort(order))
    return generated


def _batched(videos: Iterator[tuple[int, np.ndarray]], size: int) -> Iterator[list[tuple[int, np.ndarray]]]:
    batch: list[tuple[int, np.ndarray]] = []
    for video in videos:
        batch.append(video)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _look_at(
    generated: GeneratedVideos,
    index: int,
    frames_thwc: np.ndarray,
    sampler: Sampler,
    samples_dir: Path | None,
) -> None:
    """What needs the whole video: its size, its seams, and a file of it to look at."""
    height, width = frames_thwc.shape[1:3]
    settings, sampling = sampler.settings, sampler.sampling
    if (height, width) != (settings.height, settings.width):
        raise RequestError(
            f"evaluation.width, height: the model makes {width}x{height} videos, the settings say "
            f"{settings.width}x{settings.height}"
        )
    ratios = seam_ratios(frames_thwc, sampling.num_frames, sampling.prompt_frames)
    if ratios is not None:
        generated.seams.append(ratios)
    if samples_dir is not None and index < NUM_SAMPLES:
        samples_dir.mkdir(parents=True, exist_ok=True)
        path = samples_dir / f"evaluated-{index:02d}.mp4"
        write_mp4(path, iter(frames_thwc), sampling.fps, (width, height))
        generated.files[index] = str(path)
