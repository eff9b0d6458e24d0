"""Animated images that Pillow decodes and libav does not, or not with all they have: WebP, APNG and AVIF, as videos.

They are told by their bytes; GIF is read by libav.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame
from PIL import Image, ImageOps, ImageSequence

from tasks.clips.images import opened_image, rgb_over_white
from tasks.clips.webp import DEFAULT_FRAME_MS, is_webp
from tasks.corpora.media import Media, first_bytes

FRAME_BYTES_PER_PIXEL = 16  # a turned copy, its bytes, and libav's frame beside the decoder's own
_HEAD_BYTES = 65_536  # an APNG says that it is one before its first picture, but behind a colour profile
_PNG = b"\x89PNG\r\n\x1a\n"
_AVIF_BRANDS = (b"avif", b"avis")


def animation_kind(source: Media | Path) -> str | None:
    """Tells which kind of animated image the bytes call themselves: `webp`, `apng` or `avif`; None for all else."""
    head = first_bytes(source, _HEAD_BYTES)
    if is_webp(head):
        return "webp"
    if head.startswith(_PNG) and b"acTL" in head.partition(b"IDAT")[0]:
        return "apng"
    if head[4:8] == b"ftyp" and head[8:12] in _AVIF_BRANDS:
        return "avif"
    return None


def animation_frames(source: Media | Path) -> Iterator[tuple[float, VideoFrame]]:
    """Times in seconds and frames of an animated image, one if it is still; ItemError (stage `decode`) if broken."""
    with opened_image(source, FRAME_BYTES_PER_PIXEL) as image:
        # The picture that an APNG shows where it is not understood, and nowhere else.
        stand_in = bool(getattr(image, "default_image", False))
        time_ms = 0.0
        for index, frame in enumerate(ImageSequence.Iterator(image)):
            if stand_in and index == 0:
                continue
            # Turned in a copy: the frames of an animation are one object, and its orientation is for all.
            rgb_hwc = np.asarray(rgb_over_white(ImageOps.exif_transpose(frame)))
            yield time_ms / 1000, VideoFrame.from_ndarray(rgb_hwc, format="rgb24")
            time_ms += _duration_ms(frame)


def _duration_ms(frame: Image.Image) -> float:
    return float(frame.info.get("duration") or DEFAULT_FRAME_MS)
