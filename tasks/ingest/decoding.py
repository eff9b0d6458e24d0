"""The body of a build's decoding tasks: one source to clips; a plain generator, callable without Ray."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

from tasks.clips.clip import Clip
from tasks.clips.from_source import NO_LIMITS, clips_of
from tasks.clips.limits import LimitSettings
from tasks.clips.settings import ClipSettings
from tasks.clips.video_io import decode_bytes, encode_lossless_ish
from tasks.corpora.media import content_digest
from tasks.corpora.records import SourceRecord
from tasks.errors import ItemError
from tasks.filters.measures import Measures, measured
from tasks.filters.signals import clip_signals
from tasks.ingest.items import DecodedClip, DecodeStep, Failure, Seconds, timed


def decode_source(
    source: SourceRecord,
    settings: ClipSettings,
    videos: Collection[str],
    measures: Measures = (),
    limits: LimitSettings = NO_LIMITS,
) -> Iterator[DecodeStep | DecodedClip]:
    """Yields that it has begun, then a step and a clip in turns: a driver need not see frames.

    The step before the last clip says so, hence clips are made one ahead of what is given away. A source that fails
    ends with a step of its own. `videos` are the kinds whose clips are kept as mp4, `measures`
    what filters ask of networks, `limits` what a file may be and cost.
    """
    seconds: Seconds = {}
    digest = None
    yield DecodeStep()
    try:
        with timed(seconds, "digest"):
            digest = content_digest(source.place)
        clips = clips_of(source, settings, limits)
        clip = _next(clips, seconds)
        if clip is None:
            raise ItemError("no clip could be made of it", stage="decode")
        while clip is not None:
            decoded = _finish(clip, digest, source.kind in videos, measures, seconds)
            clip = _next(clips, seconds)
            yield DecodeStep(decoded.clip.clip_id, clip is None, digest, seconds, share=_share(decoded.clip))
            yield decoded
            seconds = {}
    except Exception as error:
        # One bad file must not end the run, whichever library it trips: it is quarantined with the error.
        yield DecodeStep(None, True, digest, seconds, Failure.of(error, stage="decode"))


def _next(clips: Iterator[Clip], seconds: Seconds) -> Clip | None:
    with timed(seconds, "decode"):
        return next(clips, None)


def _share(clip: Clip) -> float:
    """How much of a video lies before the end of a clip, 0..1; of an image 0."""
    if not clip.source_duration_s:
        return 0.0
    return min(1.0, (clip.start_s + len(clip.frames_nhwc) / clip.fps) / clip.source_duration_s)


def _finish(clip: Clip, digest: str, keep_video: bool, measures: Measures, seconds: Seconds) -> DecodedClip:
    video = None
    if keep_video:
        with timed(seconds, "video"):
            video = encode_lossless_ish(clip.frames_nhwc, clip.fps)
            clip = replace(clip, frames_nhwc=decode_bytes(video)[0])
    with timed(seconds, "signals"):
        signals = clip_signals(clip.frames_nhwc)
    columns: dict[str, Any] = {}
    for measure in measures:
        with timed(seconds, measure.name):
            columns |= measured(clip.frames_nhwc, [measure])
    return DecodedClip(clip, digest, video, signals, columns)
