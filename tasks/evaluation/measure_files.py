"""Finished videos measured on Ray as they are; measures are kept by the files' content, so a killed run goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import numpy as np

from tasks.clips.reading import iter_decoded
from tasks.clips.resizing import Resizer
from tasks.corpora.media import media_name, open_media
from tasks.corpora.records import SourceRecord
from tasks.errors import ItemError
from tasks.evaluation.feature_cache import KeptMeasures
from tasks.evaluation.features import Measures, Reading, measure
from tasks.evaluation.networks import Networks
from tasks.evaluation.video_folder import Header, VideoFolder, unreadable_videos
from tasks.evaluation.workers import MeasuringPool
from tasks.progress import OnProgress

_FRAMES_PER_JOB = 64  # a job holds all frames of its videos


def files_digest(videos: VideoFolder, digests: Sequence[str]) -> str:
    """What tells these videos from others: content, order and captions, wherever they lie."""
    return hashlib.blake2b(json.dumps([digests, videos.captions]).encode(), digest_size=16).hexdigest()


def measure_files(
    videos: VideoFolder,
    digest: str,
    reading: Reading,
    networks: Networks,
    pool: MeasuringPool,
    on_progress: OnProgress | None = None,
) -> Measures:
    """The measures in the videos' order; `digest` is that of `files_digest`.

    Raises RequestError when videos cannot be decoded as their headers promise, or a network's answer is not finite.
    """
    kept = KeptMeasures("videos-", digest, reading, networks)
    if not kept.is_whole:
        _measure_missing(videos, reading, pool, kept, on_progress)
        kept.finish(kept.join(_chunks(videos)))
    return kept.whole()[0]


def _measure_missing(
    videos: VideoFolder,
    reading: Reading,
    pool: MeasuringPool,
    kept: KeptMeasures,
    on_progress: OnProgress | None,
) -> None:
    chunks = _chunks(videos)
    missing = {number: chunks[number] for number in kept.missing(chunks)}
    total = len(videos.sources)
    done = total - sum(map(len, missing.values()))
    jobs = {}
    for number, rows in missing.items():
        captions = None if videos.captions is None else [videos.captions[row] for row in rows]
        jobs[number] = ([videos.sources[row] for row in rows], captions, videos.header, reading)
    problems: list[str] = []
    for number, (measures, unreadable) in pool.run(decode_and_measure, jobs):
        problems += unreadable
        if measures is not None:
            kept.keep(number, measures)
        done += len(missing[number])
        if on_progress is not None:
            on_progress(done, total, "videos measured")
    if problems:
        raise unreadable_videos(videos.folder, sorted(problems), total)


def decode_and_measure(
    sources: Sequence[SourceRecord],
    captions: Sequence[str] | None,
    header: Header,
    reading: Reading,
    networks: Networks,
) -> tuple[Measures | None, list[str]]:
    """What an actor does for a few videos: their measures, or, when one cannot be used, why, by its name."""
    videos, problems = [], []
    for source in sources:
        try:
            videos.append(_decode(source, header))
        except ItemError as error:
            problems.append(str(error))
    if problems:
        return None, problems
    return measure(np.stack(videos), captions, reading, networks, [source.uri for source in sources]), []


def _decode(source: SourceRecord, header: Header) -> np.ndarray:
    """All frames (t, h, w, 3); ItemError when they are not those that the header promises, or damaged."""
    shape = (header.height, header.width, 3)
    frames: list[np.ndarray] = []
    with open_media(source.place) as media:
        resizer = Resizer(media_name(media))
        for decoded in iter_decoded(media):
            where = f"{source.uri}: frame {len(frames)}"
            if decoded.frame.is_corrupt:  # the decoder has filled in what it could not read
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


def _chunks(videos: VideoFolder) -> dict[int, range]:
    """The rows of each job; the videos' length alone decides, so a resumed run has the same ones."""
    size, total = max(1, _FRAMES_PER_JOB // videos.header.num_frames), len(videos.sources)
    return {
        number: range(start, min(start + size, total)) for number, start in enumerate(range(0, total, size))
    }
