"""Writes the tiny world's media files, whole ones and broken ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from tasks.clips.video_io import encode

FPS = 8.0


def write_image(path: Path, frame_hwc: np.ndarray) -> None:
    """Writes a PNG or a JPEG, by the suffix; the JPEG keeps full colour resolution."""
    # Only the JPEG writer knows these two options; the PNG writer ignores them.
    Image.fromarray(frame_hwc).save(path, quality=92, subsampling=0)


def write_mp4(path: Path, frames_nhwc: np.ndarray) -> None:
    """Writes H.264 in mp4, good enough that the colours survive."""
    encode(path, frames_nhwc, FPS, options={"crf": "12", "preset": "veryfast"})


def write_avi(path: Path, frames_nhwc: np.ndarray) -> None:
    """Writes MPEG-4 Part 2 in AVI, as UCF-101 has it."""
    quality = {"qmin": "1", "qmax": "4"}
    encode(path, frames_nhwc, FPS, codec="mpeg4", container_format="avi", bit_rate=2_000_000, options=quality)


def write_truncated_copy(path: Path, whole: Path) -> None:
    """Writes the first half of a file, as a download that broke off leaves it."""
    data = whole.read_bytes()
    path.write_bytes(data[: len(data) // 2])
