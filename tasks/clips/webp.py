"""Frames of WebP animations, which libav does not decode; Pillow does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame
from PIL import Image, ImageOps, ImageSequence

from tasks.clips.images import opened_image, rgb_over_white
from tasks.corpora.media import Media

FRAME_BYTES_PER_PIXEL = 16  # a turned copy, its bytes, and libav's frame beside the decoder's own
DEFAULT_FRAME_MS = 100  # what browsers make of a frame that has no duration


def is_webp(source: Media | Path) -> bool:
    """Tells whether the bytes call themselves WebP; what cannot be read at all is not."""
    try:
        if isinstance(source, str | Path):
            with open(source, "rb") as file:
                head = file.read(12)
        else:
            source.seek(0)
            head = source.read(12)
    except OSError:
        return False
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


def webp_frames(source: Media | Path) -> Iterator[tuple[float, VideoFrame]]:
    """Times in seconds and frames of a WebP file, one if it is still; ItemError (stage `decode`) on broken data."""
    with opened_image(source, FRAME_BYTES_PER_PIXEL) as image:
        time_ms = 0
        for frame in ImageSequence.Iterator(image):
            # Turned in a copy: the frames of an animation are one object, and its orientation is for all.
            rgb_hwc = np.asarray(rgb_over_white(ImageOps.exif_transpose(frame)))
            yield time_ms / 1000, VideoFrame.from_ndarray(rgb_hwc, format="rgb24")
            time_ms += _duration_ms(frame)


def _duration_ms(frame: Image.Image) -> int:
    return int(frame.info.get("duration") or DEFAULT_FRAME_MS)
