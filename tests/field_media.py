"""Small odd files made for tests with PyAV, and the pixels that a reader of videos gives of them."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from tasks.clips.clip import Clip
from tasks.clips.from_source import clips_of
from tasks.clips.settings import ClipSettings
from tasks.corpora.records import CaptionSpan, MediaPlace, SourceRecord, source_id

VIDEO_KINDS = ("short-videos", "long-videos")


def source_of(path: Path, kind: str) -> SourceRecord:
    """A captioned source of one file."""
    captions = (CaptionSpan("a thing"),)
    return SourceRecord(
        source_id("c", path.name), path.name, MediaPlace(str(path)), "c", kind, "CC0-1.0", captions, "given", 1, 1
    )  # fmt: skip


def clips_in(path: Path, kind: str, **settings: Any) -> list[Clip]:
    """The clips that a build makes of one file."""
    return list(clips_of(source_of(path, kind), ClipSettings(**settings)))


def add_film(
    container: av.container.OutputContainer, codec: str, size: tuple[int, int], pix_fmt: str, **options: str
) -> Any:
    """A stream of 8 frames a second in a container that is being written, of size (width, height)."""
    stream: Any = container.add_stream(codec, rate=8, options=options)
    stream.width, stream.height = size
    stream.pix_fmt = pix_fmt
    stream.thread_count = 1
    return stream


def mux(container: Any, stream: Any, frames: Iterable[np.ndarray], pixel_format: str = "rgb24") -> None:
    """Encodes frames, uint8 (h, w, 3) or what the pixel format wants, to the end of the stream."""
    for index, pixels in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format=pixel_format)
        frame.pts, frame.time_base = index, Fraction(1, 8)
        container.mux(stream.encode(frame))
    container.mux(stream.encode())
