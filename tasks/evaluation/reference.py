"""The real side of an evaluation: which reference clips are taken, and their measures, kept by content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from tasks.clips.reading import probe
from tasks.corpora.corpus import Corpus
from tasks.corpora.media import content_digest, open_media
from tasks.corpora.readers import read_sources
from tasks.corpora.records import SourceRecord
from tasks.errors import ItemError, RequestError
from tasks.evaluation.feature_cache import KeptMeasures
from tasks.evaluation.features import Measures, Reading, measure
from tasks.evaluation.networks import Networks
from tasks.evaluation.protocols import Protocol, check_fps
from tasks.evaluation.reference_clip import cut_reference_clip
from tasks.evaluation.settings import EvaluationSettings
from tasks.evaluation.ucf101 import is_ucf101, read_ucf101
from tasks.evaluation.workers import MeasuringPool
from tasks.progress import OnProgress

CLIPS_PER_JOB = 4
_PROBED = 15  # files whose headers tell the folder's usual frame rate; UCF-101 has a few at another one


@dataclass(frozen=True)
class ReferenceRequest:
    """The real videos of an evaluation in the order in which they are taken, and how a clip is cut from each.

    `wanted` of them are needed; `digests` are those of the files' bytes, "unreadable" where there are none.
    """

    folder: Path
    sources: list[SourceRecord]
    digests: list[str]
    protocol: Protocol
    settings: EvaluationSettings
    fps: float

    @property
    def wanted(self) -> int:
        """How many clips the set has."""
        return len(self.sources) if self.protocol.num_reference == "all" else self.settings.num_videos

    def digests_by_name(self) -> dict[str, str]:
        """The digest of each file."""
        return {source.uri: digest for source, digest in zip(self.sources, self.digests, strict=True)}

    def digest(self) -> str:
        """What tells these clips from others: content, captions, order and cut."""
        what = [
            self.protocol.setup(self.fps, self.settings.num_videos, self.wanted),
            self.settings.model_dump(include={"seed", "width", "height"}),
            [(source.uri, [asdict(span) for span in source.captions]) for source in self.sources],
            self.digests,
        ]
        return hashlib.blake2b(json.dumps(what, sort_keys=True).encode(), digest_size=16).hexdigest()


@dataclass(frozen=True)
class Reference:
    """The reference clips as far as they are kept: captions, files and measures, but no pixels."""

    prompts: list[str]
    files: list[str]
    measures: Measures
    unreadable: list[dict[str, str]]
    digest: str
    cached: bool


def find_sources(folder: Path, protocol: Protocol, settings: EvaluationSettings) -> list[SourceRecord]:
    """The captioned videos of a reference folder in the order in which they are taken, shuffled by the seed.

    The folder has UCF-101's layout or a manifest. Raises RequestError when there is no such folder or it has fewer
    videos than the settings ask for: they are never repeated to fill up.
    """
    if not folder.is_dir():
        raise RequestError(f"reference: {folder} is no folder; give one with videos and a manifest.tsv")
    if is_ucf101(folder):
        usable = read_ucf101(folder, protocol.split)
    elif protocol.prompts == "class-distribution" or protocol.fps == "native":
        raise RequestError(
            f"reference: {folder} has not UCF-101's layout (class folders), which the protocol {protocol.name} asks for"
        )
    else:
        corpus = Corpus(
            name="reference", kind="short-videos", format="folder", path=folder.absolute(), licence="unknown"
        )
        usable = [source for source in read_sources(corpus) if source.problem is None]
    if protocol.num_reference != "all" and len(usable) < settings.num_videos:
        raise RequestError(
            f"reference: {folder} has {len(usable)} captioned videos, num_videos asks for {settings.num_videos}"
        )
    # A sorted folder starts with its first classes; a shuffle takes of all.
    order = np.random.default_rng(settings.seed).permutation(len(usable))
    return [usable[index] for index in order]


def find_reference(
    folder: Path, protocol: Protocol, settings: EvaluationSettings, fps: float
) -> ReferenceRequest:
    """The request for a folder's clips at the model's frame rate; reads every file once, for its digest."""
    sources = find_sources(folder, protocol, settings)
    rates = [rate for source in sources[:_PROBED] if (rate := _native_fps(source)) is not None]
    if rates:
        check_fps(protocol, fps, median(rates))
    return ReferenceRequest(folder, sources, [_digest(source) for source in sources], protocol, settings, fps)


def measure_reference(
    request: ReferenceRequest,
    reading: Reading,
    networks: Networks,
    pool: MeasuringPool,
    on_progress: OnProgress | None = None,
) -> Reference:
    """Measure a clip of each video, what is not kept yet.

    An unreadable video is listed by name and the next one takes its place; RequestError when too few are left.
    """
    digest = request.digest()
    kept = KeptMeasures("reference-", digest, reading, networks)
    cached = kept.is_whole
    if not cached:
        taken = _take(request, reading, pool, kept, on_progress)
        texts = {"prompts": taken.prompts, "files": taken.files, "unreadable": taken.unreadable}
        kept.finish(Measures.join(taken.measures), texts)
    measures, about = kept.whole()
    # File names are kept relative to the folder: the same videos elsewhere are found again.
    files = [str(request.folder / file) for file in about["files"]]
    return Reference(about["prompts"], files, measures, about["unreadable"], digest, cached)


@dataclass
class _Taken:
    prompts: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    measures: list[Measures] = field(default_factory=list)
    unreadable: list[dict[str, str]] = field(default_factory=list)

    def add(self, measures: Measures | None, about: dict[str, Any], room: int) -> None:
        """As many clips of a job's as there is room for."""
        if measures is not None and room:
            self.measures.append(measures.take(range(min(room, len(measures)))))
        self.prompts += about["prompts"][:room]
        self.files += about["files"][:room]
        self.unreadable += about["unreadable"]


def _take(
    request: ReferenceRequest,
    reading: Reading,
    pool: MeasuringPool,
    kept: KeptMeasures,
    on_progress: OnProgress | None,
) -> _Taken:
    """The first clips that can be used, as many as are wanted; round by round, since some files may be unreadable."""
    taken, all_jobs, jobs_done = _Taken(), -(-len(request.sources) // CLIPS_PER_JOB), 0
    while (missing := request.wanted - len(taken.files)) > 0 and jobs_done < all_jobs:
        numbers = range(jobs_done, min(all_jobs, jobs_done + -(-missing // CLIPS_PER_JOB)))
        _measure_missing(request, numbers, reading, pool, kept, on_progress)
        for number in numbers:
            taken.add(*kept.part(number), request.wanted - len(taken.files))
        jobs_done = numbers.stop
    if not missing or (request.protocol.num_reference == "all" and taken.files):
        return taken
    raise RequestError(
        f"reference: only {len(taken.files)} of {len(request.sources)} videos in {request.folder} can be used, "
        f"num_videos asks for {request.wanted}; not {taken.unreadable[0]['error']}"
    )


def _measure_missing(
    request: ReferenceRequest,
    numbers: range,
    reading: Reading,
    pool: MeasuringPool,
    kept: KeptMeasures,
    on_progress: OnProgress | None,
) -> None:
    jobs = {}
    for number in kept.missing(numbers):
        sources = request.sources[number * CLIPS_PER_JOB : (number + 1) * CLIPS_PER_JOB]
        jobs[number] = (sources, request.protocol, request.settings, request.fps, reading)
    done = len(numbers) - len(jobs)
    for number, (measures, about) in pool.run(measure_sources, jobs):
        kept.keep(number, measures, about)
        done += 1
        if on_progress is not None:
            first, total = numbers.start, min(numbers.stop * CLIPS_PER_JOB, len(request.sources))
            on_progress(min((first + done) * CLIPS_PER_JOB, total), total, "reference clips measured")


def measure_sources(
    sources: Sequence[SourceRecord],
    protocol: Protocol,
    settings: EvaluationSettings,
    fps: float,
    reading: Reading,
    networks: Networks,
) -> tuple[Measures | None, dict[str, Any]]:
    """What an actor does for a few videos: decode, measure, let the pixels go."""
    about: dict[str, Any] = {"prompts": [], "files": [], "unreadable": []}
    clips = []
    for source in sources:
        try:
            clip = cut_reference_clip(
                source,
                num_frames=protocol.num_frames,
                fps=None if protocol.fps == "native" else fps,
                width=settings.width,
                height=settings.height,
                position=protocol.position,
                seed=settings.seed,
            )
        except ItemError as error:
            about["unreadable"].append({"file": source.uri, "error": str(error)})
            continue
        clips.append(clip.frames_nhwc)
        about["prompts"].append(clip.caption)
        about["files"].append(source.uri)
    if not clips:
        return None, about
    return measure(np.stack(clips), about["prompts"], reading, networks, about["files"]), about


def _native_fps(source: SourceRecord) -> float | None:
    try:
        with open_media(source.place) as media:
            return float(probe(media).fps)
    except ItemError:
        return None


def _digest(source: SourceRecord) -> str:
    try:
        return content_digest(source.place)
    except ItemError:  # it will be listed as unreadable
        return "unreadable"
