"""How many frames a generated video that is there already has: told of it as of one that was just made."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from tasks.clips.reading import open_video
from tasks.clips.streams import packets_of
from tasks.generation.frames_folder import frames_of


def count_frames(video: Path) -> int:
    """Counts pictures, or packets of a film, of which each is a frame; nothing is decoded.

    Raises ItemError for a file that is no video.
    """
    if video.is_dir():
        return sum(1 for _ in frames_of(video))
    if video.suffix.lower() == ".gif":
        with Image.open(video) as gif:
            return int(getattr(gif, "n_frames", 1))
    with open_video(video) as (container, stream):
        return sum(1 for packet in packets_of(container, stream) if packet.size)
