"""Whether the mp4 that is kept of a clip still is what it was: it decodes, frame for frame."""

from __future__ import annotations

import io

from tasks.clips.video_io import iter_frames
from tasks.errors import ItemError


def video_problem(data: bytes, num_frames: int) -> str | None:
    """Tells what is wrong with a clip's mp4 of so many frames, in one line; None when nothing is."""
    try:
        decoded = sum(1 for _ in iter_frames(io.BytesIO(data)))
    except ItemError as error:
        return f"its video is broken: {error}"
    return None if decoded == num_frames else f"its video has {decoded} frames, not {num_frames}"
