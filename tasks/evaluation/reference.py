"""The real clips of an evaluation and their features, which are kept by content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from tasks.clips.reading import probe
from tasks.corpora.media import content_digest, open_media
from tasks.corpora.records import SourceRecord
from tasks.errors import ItemError, RequestError
from tasks.evaluation.feature_cache import FeatureCache
from tasks.evaluation.features import Reading, VideoFeatures, extract_features
from tasks.evaluation.measure_jobs import MeasuringJob, batches, measure_jobs
from tasks.evaluation.networks import Networks
from tasks.evaluation.protocols import Protocol, check_fps
from tasks.evaluation.reference_clip import cut_reference_clip
from tasks.evaluation.reference_sources import find_sources
from tasks.evaluation.settings import EvaluationSettings
from tasks.evaluation.setup import ProtocolSetup
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
        """Returns the digest of each file."""
        return {source.uri: digest for source, digest in zip(self.sources, self.digests, strict=True)}

    def digest(self) -> str:
        """Returns what tells these clips from others: content, captions, order and cut."""
        what = [
            asdict(ProtocolSetup.of(self.protocol, self.fps, self.settings.num_videos, self.wanted)),
            self.settings.model_dump(include={"seed", "width", "height"}),
            [(source.uri, [asdict(span) for span in source.captions]) for source in self.sources],
            self.digests,
        ]
        return hashlib.blake2b(json.dumps(what, sort_keys=True).encode(), digest_size=16).hexdigest()


@dataclass(frozen=True)
class Reference:
    """The reference clips as far as they are kept: captions, files and features, but no pixels."""

    prompts: list[str]
    files: list[str]
    features: VideoFeatures
    unreadable: list[dict[str, str]]
    digest: str
    cached: bool


def find_reference(
    folder: Path, protocol: Protocol, settings: EvaluationSettings, fps: float
) -> ReferenceRequest:
    """Returns the request for a folder's clips at the model's frame rate; reads every file once, for its digest."""
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
    """Measures a clip of each video, as far as it is not kept yet.

    An unreadable video is listed by name and the next one takes its place; RequestError when too few are left.
    """
    digest = request.digest()
    cache = FeatureCache("reference-", digest, reading, networks)
    cached = cache.is_whole
    if not cached:
        taken = _take(request, reading, networks, pool, cache, on_progress)
        assert taken.features is not None
        cache.finish(taken.features, taken.about())
    features, about = cache.whole()
    # File names are kept relative to the folder: the same videos elsewhere are found again.
    files = [str(request.folder / file) for file in about["files"]]
    return Reference(about["prompts"], files, features, about["unreadable"], digest, cached)


@dataclass(frozen=True)
class MeasuredSources:
    """What a worker returns of a few videos: a row for each clip that could be cut, and which could not, and why."""

    features: VideoFeatures | None
    prompts: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    unreadable: list[dict[str, str]] = field(default_factory=list)

    def about(self) -> dict[str, Any]:
        """Returns what is kept beside the features."""
        return {"prompts": self.prompts, "files": self.files, "unreadable": self.unreadable}

    def first(self, room: int) -> MeasuredSources:
        """Returns the same with its first clips only, as many as there is room for."""
        taken = min(room, len(self.files))
        features = self.features.take(range(taken)) if self.features is not None and taken else None
        return MeasuredSources(features, self.prompts[:taken], self.files[:taken], self.unreadable)

    @classmethod
    def join(cls, parts: Sequence[MeasuredSources]) -> MeasuredSources:
        """Returns the clips of all parts, in their order."""
        features = [part.features for part in parts if part.features is not None]
        return cls(
            VideoFeatures.join(features) if features else None,
            [prompt for part in parts for prompt in part.prompts],
            [file for part in parts for file in part.files],
            [item for part in parts for item in part.unreadable],
        )


def _take(
    request: ReferenceRequest,
    reading: Reading,
    networks: Networks,
    pool: MeasuringPool,
    cache: FeatureCache,
    on_progress: OnProgress | None,
) -> MeasuredSources:
    """Measures the first clips that can be used, as many as are wanted: round by round, as some may be unreadable."""
    rows, parts = batches(len(request.sources), CLIPS_PER_JOB), []
    jobs: dict[int, MeasuringJob[MeasuredSources]] = {}
    missing = request.wanted
    while missing > 0 and len(jobs) < len(rows):
        numbers = range(len(jobs), min(len(rows), len(jobs) + -(-missing // CLIPS_PER_JOB)))
        for number in numbers:
            sources = request.sources[rows[number].start : rows[number].stop]
            arguments = (sources, request.protocol, request.settings, request.fps, reading, networks)
            jobs[number] = MeasuringJob(measure_sources, arguments, len(sources))
        measure_jobs(
            jobs,
            cache.missing(jobs),
            pool,
            lambda number, found: cache.keep(number, found.features, found.about()),
            on_progress,
            "reference clips measured",
        )
        for number in numbers:
            features, about = cache.part(number)
            parts.append(MeasuredSources(features, **about).first(missing))
            missing -= len(parts[-1].files)
    taken = MeasuredSources.join(parts)
    if not missing or (request.protocol.num_reference == "all" and taken.files):
        return taken
    raise RequestError(
        f"reference: only {len(taken.files)} of {len(request.sources)} videos in {request.folder} can be used, "
        f"num_videos asks for {request.wanted}; not {taken.unreadable[0]['error']}"
    )


def measure_sources(
    sources: Sequence[SourceRecord],
    protocol: Protocol,
    settings: EvaluationSettings,
    fps: float,
    reading: Reading,
    networks: Networks,
) -> MeasuredSources:
    """Does a worker's work on a few videos: decodes and measures them, and lets the pixels go."""
    found = MeasuredSources(None)
    clips = []
    for source in sources:
        try:
            cut = cut_reference_clip(
                source,
                num_frames=protocol.num_frames,
                fps=None if protocol.fps == "native" else fps,
                width=settings.width,
                height=settings.height,
                position=protocol.position,
                seed=settings.seed,
            )
        except ItemError as error:
            found.unreadable.append({"file": source.uri, "error": str(error)})
            continue
        clips.append(cut.frames_nhwc)
        found.prompts.append(cut.caption)
        found.files.append(source.uri)
    if not clips:
        return found
    features = extract_features(np.stack(clips), found.prompts, reading, networks, found.files)
    return replace(found, features=features)


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
