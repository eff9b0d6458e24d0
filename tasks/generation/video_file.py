"""A generated video on its way to disk: a file that grows clip by clip, then its contact sheet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tasks.clips.ffmpeg import VideoWriter
from tasks.generation.contact_sheet import SheetClip, clips_to_show, write_contact_sheet
from tasks.generation.frames_folder import FramesWriter
from tasks.generation.made_of import add_comment_to_gif, tags_of
from tasks.generation.video_kinds import contact_sheet_of, is_file_kind


@dataclass(frozen=True)
class GeneratedVideo:
    """A video on disk and what makes it again."""

    prompt: str
    seed: int
    file: Path
    contact_sheet: Path
    num_clips: int
    num_frames: int
    fps: float


class VideoFile:
    """Takes the clips of one video in their order; of a long one it keeps those of the contact sheet only.

    `out` ends in one of `video_kinds.VIDEO_SUFFIXES`, or is a folder for PNGs; `made_of` is kept in it, as plain JSON.
    """

    def __init__(
        self,
        out: Path,
        prompt: str,
        seed: int,
        num_clips: int,
        fps: float,
        made_of: Mapping[str, Any] | None = None,
    ):
        self.out, self.prompt, self.seed = out, prompt, seed
        self.num_clips, self.fps = num_clips, fps
        self._tags = tags_of(prompt, made_of or {"prompt": prompt, "seed": seed})
        self._writer: VideoWriter | FramesWriter | None = None
        self._shown, self._sheet = clips_to_show(num_clips), list[SheetClip]()
        self._clips = self._frames = 0

    def add(self, frames_nhwc: np.ndarray) -> None:
        """Writes the frames of the next clip, uint8 (n, h, w, 3); what comes after the last clip belongs to it."""
        if self._writer is None:
            height, width = frames_nhwc.shape[1:3]
            self._writer = (
                VideoWriter(self.out, self.fps, (width, height), self._tags)
                if is_file_kind(self.out)
                else FramesWriter(self.out, self._tags)
            )
        for frame_hwc in frames_nhwc:
            self._writer.add(frame_hwc)
        if self._clips >= self.num_clips:
            last = self._sheet.pop()
            joined = np.concatenate([last.frames_nhwc, frames_nhwc])
            self._sheet.append(SheetClip(last.number, last.first_frame, joined))
        elif self._clips in self._shown:
            self._sheet.append(SheetClip(self._clips, self._frames, frames_nhwc.copy()))
        self._clips += 1
        self._frames += len(frames_nhwc)

    def finish(self) -> GeneratedVideo:
        """Ends the video and writes the contact sheet, a PNG of the same name."""
        assert self._writer is not None, "a video has at least one clip"
        self._writer.finish()
        if self.out.suffix.lower() == ".gif":
            add_comment_to_gif(self.out, self._tags["comment"])
        sheet = write_contact_sheet(self._sheet, self.num_clips, contact_sheet_of(self.out), self._tags)
        return GeneratedVideo(self.prompt, self.seed, self.out, sheet, self.num_clips, self._frames, self.fps)

    def abandon(self) -> None:
        """Removes what is unfinished."""
        if self._writer is not None:
            self._writer.abandon()
