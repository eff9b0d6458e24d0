"""Videos sampled from a model and measured on Ray; what is measured is kept, so that a killed run goes on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tasks.clips.ffmpeg import write_mp4
from tasks.errors import RequestError
from tasks.evaluation.feature_cache import KeptMeasures
from tasks.evaluation.features import Measures, Reading, measure
from tasks.evaluation.networks import Networks
from tasks.evaluation.workers import MeasuringPool
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
        """What tells these videos from others; how many workers sample them is no part of it."""
        what = [
            folder_digest(self.model_dir),
            self.prompts,
            self.seeds,
            self.num_clips,
            self.sampling.model_dump(mode="json"),
        ]
        return hashlib.blake2b(json.dumps(what).encode(), digest_size=16).hexdigest()


@dataclass(frozen=True)
class MeasuredVideos:
    """The measures of a set, in the prompts' order, and the first videos as files by their index."""

    measures: Measures
    files: dict[int, Path]


def measure_sampled(
    videos: SampledVideos,
    reading: Reading,
    networks: Networks,
    pool: MeasuringPool,
    size: tuple[int, int] | None = None,
    on_progress: OnProgress | None = None,
) -> MeasuredVideos:
    """Sample and measure what is not kept yet.

    `size` is the width and height that the frames must have. Raises RequestError when they have others.
    """
    kept = KeptMeasures("", videos.digest(), reading, networks)
    if not kept.is_whole:
        _measure_missing(videos, reading, pool, kept, size, on_progress)
        kept.finish(kept.join(_chunks(videos)), {"prompts": videos.prompts, "seeds": videos.seeds})
    files = {index: kept.folder / _sample(index) for index in range(min(NUM_SAMPLES, len(videos.prompts)))}
    return MeasuredVideos(kept.whole()[0], files)


def _measure_missing(
    videos: SampledVideos,
    reading: Reading,
    pool: MeasuringPool,
    kept: KeptMeasures,
    size: tuple[int, int] | None,
    on_progress: OnProgress | None,
) -> None:
    chunks = _chunks(videos)
    missing = {number: chunks[number] for number in kept.missing(chunks)}
    done, total = len(videos.prompts) - sum(map(len, missing.values())), len(videos.prompts)
    jobs = {number: (videos, rows, reading, size) for number, rows in missing.items()}
    for number, (measures, samples) in pool.run(sample_and_measure, jobs):
        for index, frames_thwc in samples.items():
            kept.folder.mkdir(parents=True, exist_ok=True)
            height, width = frames_thwc.shape[1:3]
            write_mp4(kept.folder / _sample(index), iter(frames_thwc), videos.sampling.fps, (width, height))
        kept.keep(number, measures)
        done += len(measures)
        if on_progress is not None:
            on_progress(done, total, "videos sampled and measured")


def sample_and_measure(
    videos: SampledVideos, rows: range, reading: Reading, size: tuple[int, int] | None, networks: Networks
) -> tuple[Measures, dict[int, np.ndarray]]:
    """What an actor does for one batch: its measures, and the frames (t, h, w, 3) of videos that are kept as files."""
    from tasks.generation.generate import stream_batch

    prompts, seeds = [videos.prompts[i] for i in rows], [videos.seeds[i] for i in rows]
    clips = list(stream_batch(videos.model_dir, prompts, seeds, videos.num_clips, videos.sampling))
    frames_bthwc = np.concatenate(clips, axis=1)
    height, width = frames_bthwc.shape[2:4]
    if size is not None and (width, height) != size:
        raise RequestError(
            f"evaluation.width, height: the model makes {width}x{height} videos, the settings say {size[0]}x{size[1]}"
        )
    names = [f"video {i} ({videos.prompts[i]!r}, seed {videos.seeds[i]})" for i in rows]
    samples = {i: video_thwc for i, video_thwc in zip(rows, frames_bthwc, strict=True) if i < NUM_SAMPLES}
    return measure(frames_bthwc, prompts, reading, networks, names), samples


def _chunks(videos: SampledVideos) -> dict[int, range]:
    """The batches by number; their sizes are fixed, so a resumed run samples the same ones."""
    size, total = videos.sampling.prompts_per_batch, len(videos.prompts)
    return {start: range(start, min(start + size, total)) for start in range(0, total, size)}


def _sample(index: int) -> str:
    return f"video-{index:02d}.mp4"
