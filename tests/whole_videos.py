"""Videos as a whole, put together of the clips that the project passes on one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from tasks.generation.video_file import GeneratedVideo, VideoFile


def whole_videos(stream: Iterable[tuple[int, np.ndarray | None]]) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (index of the prompt, frames (n, h, w, 3)) of each video as it is complete."""
    clips: dict[int, list[np.ndarray]] = {}
    for index, frames_nhwc in stream:
        if frames_nhwc is None:
            yield index, np.concatenate(clips.pop(index))
        else:
            clips.setdefault(index, []).append(frames_nhwc)


def write_video(
    clips: Iterable[np.ndarray], prompt: str, seed: int, num_clips: int, fps: float, out: Path
) -> GeneratedVideo:
    """Writes the clips of one video, each uint8 (n, h, w, 3), and its contact sheet."""
    file = VideoFile(out, prompt, seed, num_clips, fps)
    try:
        for frames_nhwc in clips:
            file.add(frames_nhwc)
        return file.finish()
    except BaseException:
        file.abandon()
        raise
