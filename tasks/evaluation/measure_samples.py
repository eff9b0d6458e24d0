"""Samples videos from a model and measures them; what is measured is kept, so that a killed run goes on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tasks.clips.ffmpeg import write_mp4
from tasks.errors import RequestError
from tasks.evaluation.feature_cache import FeatureCache
from tasks.evaluation.features import Reading, VideoFeatures, extract_features
from tasks.evaluation.measure_jobs import MeasuringJob, batches, measure_jobs
from tasks.evaluation.networks import Networks
from tasks.evaluation.workers import MeasuringPool
from tasks.generation.asked import AskedVideos
from tasks.generation.generate import stream_batch
from tasks.generation.settings import SamplingSettings
from tasks.model_files import folder_digest
from tasks.progress import OnProgress

NUM_SAMPLES = 8  # videos of a set that are kept to look at


@dataclass(frozen=True)
class SampledVideos:
    """One video for each prompt from its own seed, all of `num_clips` clips."""

    model_dir: Path
    prompts: list[str]
    seeds: list[int]
    num_clips: int
    sampling: SamplingSettings

    def digest(self) -> str:
        """Returns what tells these videos from others; how many workers sample them is no part of it."""
        what = [
            folder_digest(self.model_dir),
            self.prompts,
            self.seeds,
            self.num_clips,
            self.sampling.identity(),
        ]
        return hashlib.blake2b(json.dumps(what).encode(), digest_size=16).hexdigest()

    def batches(self) -> list[range]:
        """Returns the rows that are sampled together."""
        return batches(len(self.prompts), self.sampling.videos_at_once)

    def sample(self, rows: range) -> np.ndarray:
        """Samples the videos of these rows; returns their frames (b, t, h, w, 3)."""
        prompts, seeds = [self.prompts[i] for i in rows], [self.seeds[i] for i in rows]
        clips = stream_batch(AskedVideos(self.model_dir, prompts, seeds, self.num_clips, self.sampling))
        return np.concatenate(list(clips), axis=1)


@dataclass(frozen=True)
class MeasuredSamples:
    """The features of a set, in the prompts' order, and the first videos as files by their index."""

    features: VideoFeatures
    files: dict[int, Path]


@dataclass(frozen=True)
class MeasuredBatch:
    """What a worker returns: the features of a batch, and the frames (t, h, w, 3) of videos that are kept as files."""

    features: VideoFeatures
    frames: dict[int, np.ndarray]


def measure_samples(
    videos: SampledVideos,
    reading: Reading,
    networks: Networks,
    pool: MeasuringPool,
    size: tuple[int, int] | None = None,
    on_progress: OnProgress | None = None,
) -> MeasuredSamples:
    """Samples and measures what is not kept yet.

    `size` is the width and height that the frames must have. Raises RequestError when they have others.
    """
    cache = FeatureCache("", videos.digest(), reading, networks)

    def keep(number: int, batch: MeasuredBatch) -> None:
        for index, frames_thwc in batch.frames.items():
            height, width = frames_thwc.shape[1:3]
            write_mp4(cache.folder / _sample(index), iter(frames_thwc), videos.sampling.fps, (width, height))
        cache.keep(number, batch.features)

    if not cache.is_whole:
        jobs = {
            rows.start: MeasuringJob(sample_and_measure, (videos, rows, reading, size, networks), len(rows))
            for rows in videos.batches()
        }
        measure_jobs(jobs, cache.missing(jobs), pool, keep, on_progress, "videos sampled and measured")
        cache.finish(cache.join(jobs), {"prompts": videos.prompts, "seeds": videos.seeds})
    files = {index: cache.folder / _sample(index) for index in range(min(NUM_SAMPLES, len(videos.prompts)))}
    return MeasuredSamples(cache.whole()[0], files)


def sample_and_measure(
    videos: SampledVideos, rows: range, reading: Reading, size: tuple[int, int] | None, networks: Networks
) -> MeasuredBatch:
    """Does a worker's work on one batch."""
    frames_bthwc = videos.sample(rows)
    height, width = frames_bthwc.shape[2:4]
    if size is not None and (width, height) != size:
        raise RequestError(
            f"evaluation.width, height: the model makes {width}x{height} videos, the settings say {size[0]}x{size[1]}"
        )
    prompts = [videos.prompts[i] for i in rows]
    names = [f"video {i} ({videos.prompts[i]!r}, seed {videos.seeds[i]})" for i in rows]
    shown = {i: video_thwc for i, video_thwc in zip(rows, frames_bthwc, strict=True) if i < NUM_SAMPLES}
    return MeasuredBatch(extract_features(frames_bthwc, prompts, reading, networks, names), shown)


def _sample(index: int) -> str:
    return f"video-{index:02d}.mp4"
