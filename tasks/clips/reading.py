"""Opens videos and decodes their frames in order, from the start or from a keyframe that is safe to start at.

Whatever libav cannot read becomes an ItemError of stage `decode`; what a header promises is checked before memory
is taken for it.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from tasks.clips.animations import animation_frames, animation_kind
from tasks.clips.broken_files import what_is_wrong
from tasks.clips.deinterlacing import Scan, is_telecine, whole_frames
from tasks.clips.hdr import is_dolby_vision_alone
from tasks.clips.hevc_alpha import has_alpha_layer
from tasks.clips.keyframes import seek_to_keyframe
from tasks.clips.limits import look_at_memory
from tasks.clips.orientation import UPRIGHT, Orientation, orientation_of
from tasks.clips.streams import films_of, packets_of
from tasks.clips.transparency import over_white, transparent_decoder
from tasks.corpora.media import Media, media_name
from tasks.errors import ItemError

MAX_PIXELS = 36_000_000  # 8192x4320 and a little; decoders hold up to 16 frames, 54 MB each
CONTAINERS = ("asf", "avi", "flv", "gif", "m4v", "matroska", "mov", "mpeg", "mpegts", "mpegvideo", "ogg")
"""The demuxers of libav that may open a file: containers that hold their streams themselves."""

# A file's content decides what reads it, whatever its name: a playlist (concat, HLS, DASH, SDP) that calls itself a
# video would make us open other files and addresses on the network. The limit on pixels holds for the decoders
# too, which libav starts while it opens a file.
OPEN_OPTIONS = {
    "protocol_whitelist": "file",
    "format_whitelist": ",".join(CONTAINERS),
    "max_pixels": str(MAX_PIXELS),
}
SCAN_MARGIN_S = 1.0  # what makes frames whole looks at their neighbours, so decoding starts earlier
MAX_REORDERED = 8  # frames shown before one that they refer to
MAX_PIXEL_ASPECT = (
    4.0  # broken headers promise pixels hundreds of times wider than high: those count as square
)


@dataclass(frozen=True)
class VideoInfo:
    """What the container says about its film (`streams.py`), sizes before any turn; `duration_s` may be unknown.

    `films` counts the video streams that could have been it, as of several angles. Players count their time from
    `begins_s`, the earliest time of any of its streams: 10 s, say, in a recording of a broadcast.

    Times of frames are rounded to `time_unit_s`: 1/100 s in GIF, 1/1000 s in WebM and WebP.
    """

    width: int
    height: int
    fps: float
    duration_s: float | None
    codec: str
    time_unit_s: float = 0.001
    films: int = 1
    begins_s: float = 0.0


@dataclass(frozen=True)
class Decoded:
    """A frame as it was decoded, but over white; its time, the width of its pixels as a multiple of their height.

    `orientation` is how a viewer shows it, `stamp` its time in the stream's units; `is_corrupt` says the decoder.
    """

    time_s: float
    frame: VideoFrame
    pixel_aspect: float
    orientation: Orientation = UPRIGHT
    stamp: int | None = None
    is_corrupt: bool = False


def probe(source: Media | Path) -> VideoInfo:
    """Reads the headers of a video without decoding it; ItemError when there is no readable video."""
    kind = animation_kind(source)
    if kind is not None:
        times_s, size = [], (0, 0)
        for time_s, frame in animation_frames(source):  # one in memory at a time
            times_s.append(time_s)
            size = size if len(times_s) > 1 else (frame.width, frame.height)
        fps = (len(times_s) - 1) / (times_s[-1] - times_s[0]) if times_s[-1] > times_s[0] else 25.0
        return VideoInfo(*size, fps, times_s[-1] + 1 / fps, kind)
    with open_video(source) as (container, stream):
        duration_s = None
        if stream.duration is not None and stream.time_base is not None:
            duration_s = float(stream.duration * stream.time_base)
        elif container.duration is not None:
            duration_s = container.duration / av.time_base
        context, fps = stream.codec_context, stream_fps(stream)
        unit_s = float(stream.time_base) if stream.time_base else 0.001
        films = len(films_of(container))
        begins_s = max((container.start_time or 0) / av.time_base, 0.0)
        return VideoInfo(
            context.width, context.height, fps, duration_s, context.name, unit_s, films, begins_s
        )


def frame_times(source: Media | Path, scan: Scan | None = None) -> list[float]:
    """Times in seconds of all frames, ascending, from the packets alone; those of telecined film are decoded."""
    if is_telecine(scan):
        return [decoded.time_s for decoded in iter_decoded(source, scan=scan)]
    if animation_kind(source) is not None:
        return [time_s for time_s, _ in animation_frames(source)]
    with open_video(source) as (container, stream):
        times_s = []
        for packet in packets_of(container, stream):
            # AVI files carry decoding times only.
            stamp = packet.pts if packet.pts is not None else packet.dts
            if stamp is not None and packet.size > 0 and not packet.is_discard:
                times_s.append(float(stamp * packet.time_base))
        if not times_s and (wrong := what_is_wrong(source)) is not None:
            raise ItemError(f"{media_name(source)}: it {wrong}", stage="decode")
        return sorted(times_s)


def iter_decoded(
    source: Media | Path, from_s: float | None = None, scan: Scan | None = None
) -> Iterator[Decoded]:
    """Decodes a video's frames in order, one in memory at a time; ItemError on broken data.

    Without a `scan` (`interlacing.scan_of`) they are as they are coded, with it frames of two fields are made whole.

    With `from_s` the first frames may be left out: where the container allows it, decoding starts at a keyframe
    at or before that time, and every frame from there on is the one that decoding from the start gives.
    """
    if animation_kind(source) is not None:
        for time_s, frame in animation_frames(source):
            yield Decoded(time_s, frame, 1.0)
        return
    damaged_at = None
    if from_s is not None and not is_telecine(scan):
        with open_video(source) as (container, stream):
            start = seek_to_keyframe(container, stream, from_s - (SCAN_MARGIN_S if scan else 0.0))
            if start is not None:
                frames, reaches_back = (
                    _shown(_frames(container, stream, start, media_name(source)), scan, stream_fps(stream)),
                    True,
                )
                if scan is not None:
                    next(frames, None)  # to be made whole it would need its neighbour before the keyframe
                    first = next(frames, None)
                    reaches_back = first is not None and first.time_s <= from_s
                    frames = chain([] if first is None else [first], frames)
                if reaches_back:
                    damaged_at = yield from _until_damage(frames)
                    if damaged_at is None:
                        return
    with open_video(source) as (container, stream):
        for decoded in _shown(_frames(container, stream, None, media_name(source)), scan, stream_fps(stream)):
            if damaged_at is None or (decoded.stamp is not None and decoded.stamp >= damaged_at):
                yield decoded


def _until_damage(frames: Iterator[Decoded]) -> Generator[Decoded, None, int | None]:
    """Passes frames on while they are whole; the stamp of the first that may not be, None if there is none.

    What a decoder makes of damaged data depends on all it has decoded before, even behind a keyframe.
    """
    held: deque[Decoded] = deque()
    for decoded in frames:
        held.append(decoded)
        if decoded.is_corrupt:
            return held[0].stamp
        if len(held) > MAX_REORDERED:
            yield held.popleft()
    yield from held
    return None


def stream_fps(stream: VideoStream) -> float:
    """Gives the rate a stream's header gives, or guesses; 25 where there is none."""
    rate = stream.average_rate or stream.guessed_rate or stream.base_rate
    return float(rate) if rate else 25.0


@contextmanager
def open_video(source: Media | Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Gives a container and the stream of its film; whatever fails while it is open becomes an ItemError."""
    name = media_name(source)
    try:
        if isinstance(source, str | Path):
            target: Any = os.path.abspath(source)
        else:
            source.seek(0)  # whoever read it last left it somewhere else
            target = source
        with ExitStack() as stack:
            container = stack.enter_context(_opened(target))
            films = films_of(container)
            if not films:
                wrong = what_is_wrong(source)
                raise ItemError(
                    f"{name}: {'holds no video' if wrong is None else f'it {wrong}'}", stage="decode"
                )
            index = films[0].index
            if len(container.streams.video) > 1:
                container.close()  # to tell films from covers it was read
                if not isinstance(source, str | Path):
                    source.seek(0)
                container = stack.enter_context(_opened(target))
            stream = container.streams[index]
            assert isinstance(stream, VideoStream)
            _check_decoder(name, stream, source)
            yield container, stream
    except (av.FFmpegError, OSError, ValueError, MemoryError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        wrong = what_is_wrong(source) if isinstance(error, av.FFmpegError) else None
        raise ItemError(
            f"{name}: cannot be decoded: {reason if wrong is None else f'it {wrong}'}", stage="decode"
        ) from error


def _opened(target: Any) -> InputContainer:
    try:
        # Real AVI files carry latin-1 metadata, which would raise UnicodeDecodeError.
        return av.open(target, "r", metadata_errors="ignore", options=OPEN_OPTIONS)
    except av.ArgumentError:  # all that libav says of a container that is not on the list
        raise ValueError(f"it is none of the containers that are read ({', '.join(CONTAINERS)})") from None


def _check_decoder(name: str, stream: VideoStream, source: Media | Path) -> None:
    context = stream.codec_context
    if context is None:
        wrong = what_is_wrong(source)  # an index that is cut off may name no codec
        reason = "no decoder knows its codec" if wrong is None else f"it {wrong}"
        raise ItemError(f"{name}: cannot be decoded: {reason}", stage="decode")
    if context.width * context.height > MAX_PIXELS:
        size = f"{context.width}x{context.height}"
        raise ItemError(f"{name}: {size} is over the limit of {MAX_PIXELS} pixels", stage="decode")
    _bound(context)


def _bound(context: VideoCodecContext) -> None:
    context.options = {"max_pixels": str(MAX_PIXELS)}  # a frame may be larger than its header says
    context.thread_count = 1  # one worker per core decodes; threads inside would fight


def _frames(
    container: InputContainer, stream: VideoStream, start: int | None, name: str
) -> Iterator[Decoded]:
    aspect = float(stream.sample_aspect_ratio or 1)
    if not 1 / MAX_PIXEL_ASPECT <= aspect <= MAX_PIXEL_ASPECT:
        aspect = 1.0
    time_s, step_s = -1.0, 1.0 / stream_fps(stream)
    for frame in _decoded_frames(container, stream, name):
        look_at_memory(name)
        # Frames shown before the keyframe refer to what was not decoded.
        if start is not None and (frame.pts is None or frame.pts < start):
            continue
        if is_dolby_vision_alone(frame):
            raise ItemError(
                f"{name}: is Dolby Vision of profile 5, whose colours are not read; make it HDR10, HLG or SDR",
                stage="decode",
            )
        # Times never run backwards, even where the file's do.
        time_s = max(time_s, frame.time if frame.time is not None else max(time_s + step_s, 0.0))
        yield Decoded(time_s, frame, aspect, orientation_of(frame), frame.pts, frame.is_corrupt)


def _shown(frames: Iterator[Decoded], scan: Scan | None, fps: float) -> Iterator[Decoded]:
    for decoded in frames if scan is None else whole_frames(frames, scan, fps):
        yield replace(decoded, frame=over_white(decoded.frame))


def _decoded_frames(container: InputContainer, stream: VideoStream, name: str) -> Iterator[VideoFrame]:
    decoder = transparent_decoder(stream)
    if decoder is None:
        for number, packet in enumerate(packets_of(container, stream)):
            if number == 0 and has_alpha_layer(stream, bytes(packet)):
                raise ItemError(
                    f"{name}: is HEVC with alpha, whose transparency is not read; make it ProRes 4444 or VP9 in WebM",
                    stage="decode",
                )
            yield from packet.decode()
        return
    _bound(decoder)
    for packet in packets_of(container, stream):
        if packet.size > 0:
            yield from decoder.decode(packet)
    yield from decoder.decode(None)
