"""Makes small moving pictures and files into data URIs, so that a page carries them itself."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Thumbnail:
    """Holds a moving picture with what is written under it; where there is none, `missing` says why."""

    image: str | None
    caption: str
    note: str = ""
    struck: bool = False
    missing: str = ""


def moving_thumbnail(frames_nhwc: np.ndarray, fps: float, max_px: int = 128) -> str:
    """Returns uint8 frames (n, h, w, 3) as a looping WebP data URI, never enlarged."""
    pictures = [Image.fromarray(frame) for frame in frames_nhwc]
    for picture in pictures:
        picture.thumbnail((max_px, max_px))
    buffer = io.BytesIO()
    pictures[0].save(
        buffer,
        format="WEBP",
        save_all=True,
        append_images=pictures[1:],
        duration=round(1000 / fps),
        loop=0,
        quality=92,
        method=6,
    )
    return _data_uri(buffer.getvalue(), "image/webp")


def file_data_uri(path: Path, media_type: str) -> str:
    """Returns a file's bytes as a data URI."""
    return _data_uri(path.read_bytes(), media_type)


def _data_uri(content: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"
