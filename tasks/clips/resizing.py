"""Turns decoded frames into upright RGB of the size wanted: scaled to cover it, cropped at the centre."""

from __future__ import annotations

import av
import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from tasks.clips.hdr import hdr_format, is_hdr, tone_mapped
from tasks.clips.reading import MAX_PIXELS, Decoded
from tasks.errors import ItemError

BICUBIC = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
SMALL_SIDE_PX, SMALL_LONG_SIDE_PX = 64, 128


class Resizer:
    """Scales the frames of one video to `width` x `height`, or leaves them at their size (without both)."""

    def __init__(self, name: str, width: int | None = None, height: int | None = None) -> None:
        self._name = name
        self._width, self._height = width, height
        self._reformatter = VideoReformatter()
        self._small_reformatter = VideoReformatter()

    def upright(self, decoded: Decoded) -> np.ndarray:
        """Gives the frame as a viewer shows it, uint8 RGB (h, w, 3), turned, mirrored and with square pixels.

        ItemError (stage `decode`) when it is so long and thin that covering the size would take gigabytes.
        """
        swapped = decoded.orientation.swapped
        shown_width, shown_height = _shown_size(decoded)
        if self._width is None or self._height is None:
            scaled_width, scaled_height = crop_width, crop_height = shown_width, shown_height
        else:
            # Sizes before the turn: a quarter turn swaps the sides.
            crop_width, crop_height = (self._height, self._width) if swapped else (self._width, self._height)
            scale = max(crop_width / shown_width, crop_height / shown_height)
            scaled_width = max(round(shown_width * scale), crop_width)
            scaled_height = max(round(shown_height * scale), crop_height)
        if scaled_width * scaled_height > MAX_PIXELS:
            sizes = f"{shown_width}x{shown_height} would be scaled to {scaled_width}x{scaled_height}"
            raise ItemError(
                f"{self._name}: a frame of {sizes}, more than {MAX_PIXELS} pixels", stage="decode"
            )
        hdr = is_hdr(decoded.frame)
        scaled = self._planar(
            self._reformatter,
            decoded.frame,
            scaled_width,
            scaled_height,
            BICUBIC,
            hdr_format(decoded.frame) if hdr else "gbrp",
        )
        left, top = (scaled_width - crop_width) // 2, (scaled_height - crop_height) // 2
        part = slice(top, top + crop_height), slice(left, left + crop_width)
        cropped = tone_mapped(_planes(scaled, *part), decoded.frame) if hdr else _rgb(scaled, *part)
        return decoded.orientation.upright(cropped)

    def small(self, decoded: Decoded) -> np.ndarray:
        """Gives the whole frame at about 64 pixels a side, RGB (h, w, 3), for those who compare frames; not turned."""
        width, height = decoded.frame.width, decoded.frame.height
        scale = SMALL_SIDE_PX / min(width, height)
        small = self._planar(
            self._small_reformatter,
            decoded.frame,
            min(max(round(width * scale), SMALL_SIDE_PX), SMALL_LONG_SIDE_PX),
            min(max(round(height * scale), SMALL_SIDE_PX), SMALL_LONG_SIDE_PX),
            Interpolation.AREA,
        )
        return _rgb(small, slice(None), slice(None))

    def _planar(
        self,
        reformatter: VideoReformatter,
        frame: VideoFrame,
        width: int,
        height: int,
        interpolation: Interpolation,
        pixel_format: str = "gbrp",
    ) -> VideoFrame:
        try:
            # Planar output: libswscale has fast code for it, and none for packed RGB of a scaled frame.
            return reformatter.reformat(
                frame, width, height, format=pixel_format, interpolation=interpolation, threads=1
            )
        except (av.FFmpegError, ValueError, MemoryError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ItemError(f"{self._name}: cannot be scaled: {reason}", stage="decode") from error


def upright_size(decoded: Decoded) -> tuple[int, int]:
    """Width and height of the frame as a viewer shows it."""
    width, height = _shown_size(decoded)
    return (height, width) if decoded.orientation.swapped else (width, height)


def _shown_size(decoded: Decoded) -> tuple[int, int]:
    return max(round(decoded.frame.width * decoded.pixel_aspect), 1), decoded.frame.height


def _rgb(frame: VideoFrame, rows: slice, columns: slice) -> np.ndarray:
    green, blue, red = _planes(frame, rows, columns)
    return cv2.merge((red, green, blue))


def _planes(frame: VideoFrame, rows: slice, columns: slice) -> list[np.ndarray]:
    sample = np.dtype("<u2" if frame.format.name.endswith("16le") else np.uint8)
    return [
        np.frombuffer(memoryview(plane), sample).reshape(-1, plane.line_size // sample.itemsize)[
            : plane.height, : plane.width
        ][rows, columns]
        for plane in frame.planes
    ]
