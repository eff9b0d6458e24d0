"""Measures finished videos as they are; features are kept by the files' content, so a killed run goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tasks.clips.interlacing import scan_of
from tasks.clips.reading import iter_decoded
from tasks.clips.resizing import Resizer
from tasks.corpora.media import media_name, open_media
from tasks.corpora.records import SourceRecord
from tasks.errors import ItemError
from tasks.evaluation.feature_cache import FeatureCache
from tasks.evaluation.features import Reading, VideoFeatures, extract_features
from tasks.evaluation.measure_jobs import MeasuringJob, batches, measure_jobs
from tasks.evaluation.networks import Networks
from tasks.evaluation.video_folder import Header, VideoFolder, unreadable_videos
from tasks.evaluation.workers import MeasuringPool
from tasks.progress import OnProgress

_FRAMES_PER_JOB = 64  # a job holds all frames of its videos


def videos_digest(videos: VideoFolder, digests: Sequence[str]) -> str:
    """Returns what tells these videos from others: content, order and captions, wherever they lie."""
    return hashlib.blake2b(json.dumps([digests, videos.captions]).encode(), digest_size=16).hexdigest()


def measure_files(
    videos: VideoFolder,
    digest: str,
    reading: Reading,
    networks: Networks,
    pool: MeasuringPool,
    on_progress: OnProgress | None = None,
) -> VideoFeatures:
    """Returns the features in the videos' order; `digest` is that of `videos_digest`.

    Raises RequestError when videos cannot be decoded as their headers promise, or a feature is not finite.
    """
    cache = FeatureCache("videos-", digest, reading, networks)
    problems: list[str] = []

    def keep(number: int, found: MeasuredFiles) -> None:
        problems.extend(found.problems)
        if found.features is not None:
            cache.keep(number, found.features)

    if not cache.is_whole:
        jobs = _jobs(videos, reading, networks)
        measure_jobs(jobs, cache.missing(jobs), pool, keep, on_progress, "videos measured")
        if problems:
            raise unreadable_videos(videos.folder, sorted(problems), len(videos.sources))
        cache.finish(cache.join(jobs))
    return cache.whole()[0]


@dataclass(frozen=True)
class MeasuredFiles:
    """What a worker returns of a few videos: their features or, when one cannot be used, why, by its name."""

    features: VideoFeatures | None
    problems: list[str]


def decode_and_measure(
    sources: Sequence[SourceRecord],
    captions: Sequence[str] | None,
    header: Header,
    reading: Reading,
    networks: Networks,
) -> MeasuredFiles:
    """Does a worker's work on a few videos."""
    videos, problems = [], []
    for source in sources:
        try:
            videos.append(decoded_frames(source, header))
        except ItemError as error:
            problems.append(str(error))
    if problems:
        return MeasuredFiles(None, problems)
    names = [source.uri for source in sources]
    return MeasuredFiles(extract_features(np.stack(videos), captions, reading, networks, names), [])


def decoded_frames(source: SourceRecord, header: Header) -> np.ndarray:
    """Decodes all frames, uint8 RGB (t, h, w, 3), whole where they are two fields each, as real videos are read.

    ItemError when they are not those that the header promises, or damaged.
    """
    shape = (header.height, header.width, 3)
    frames: list[np.ndarray] = []
    with open_media(source.place) as media:
        resizer = Resizer(media_name(media))
        for decoded in iter_decoded(media, scan=scan_of(media)):
            where = f"{source.uri}: frame {len(frames)}"
            if (
                decoded.is_corrupt or decoded.frame.is_corrupt
            ):  # the decoder has filled in what it could not read
                raise ItemError(f"{where} is damaged", stage="decode")
            frame_hwc = resizer.upright(decoded)
            if frame_hwc.shape != shape:
                raise ItemError(
                    f"{where} has {frame_hwc.shape[1]}x{frame_hwc.shape[0]} pixels", stage="decode"
                )
            frames.append(frame_hwc)
            if len(frames) > header.num_frames:
                break
    if len(frames) != header.num_frames:
        promised = f"its index has {header.num_frames}"
        raise ItemError(f"{source.uri}: {len(frames)} frames can be decoded, {promised}", stage="decode")
    return np.stack(frames)


def _jobs(
    videos: VideoFolder, reading: Reading, networks: Networks
) -> dict[int, MeasuringJob[MeasuredFiles]]:
    jobs = {}
    size = max(1, _FRAMES_PER_JOB // videos.header.num_frames)
    for number, rows in enumerate(batches(len(videos.sources), size)):
        sources = [videos.sources[row] for row in rows]
        captions = None if videos.captions is None else [videos.captions[row] for row in rows]
        arguments = (sources, captions, videos.header, reading, networks)
        jobs[number] = MeasuringJob(decode_and_measure, arguments, len(rows))
    return jobs
