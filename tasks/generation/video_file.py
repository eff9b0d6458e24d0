"""A generated video on its way to disk: an mp4 that grows clip by clip, then its contact sheet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tasks.clips.ffmpeg import Mp4Writer
from tasks.generation.contact_sheet import SheetClip, clips_to_show, write_contact_sheet


@dataclass(frozen=True)
class GeneratedVideo:
    """A video on disk and what makes it again."""

    prompt: str
    seed: int
    mp4: Path
    contact_sheet: Path
    num_clips: int
    num_frames: int
    fps: float


class VideoFile:
    """Takes the clips of one video in their order; of a long one it keeps those of the contact sheet only."""

    def __init__(self, out_mp4: Path, prompt: str, seed: int, num_clips: int, fps: float):
        self.out_mp4, self.prompt, self.seed = out_mp4, prompt, seed
        self.num_clips, self.fps = num_clips, fps
        self._writer: Mp4Writer | None = None
        self._shown, self._sheet = clips_to_show(num_clips), list[SheetClip]()
        self._clips = self._frames = 0

    def add(self, frames_nhwc: np.ndarray) -> None:
        """Writes the frames of the next clip, uint8 (n, h, w, 3); what comes after the last clip belongs to it."""
        if self._writer is None:
            height, width = frames_nhwc.shape[1:3]
            self._writer = Mp4Writer(self.out_mp4, self.fps, (width, height))
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
        """Ends the mp4 and writes the contact sheet, a PNG of the same name."""
        assert self._writer is not None, "a video has at least one clip"
        self._writer.finish()
        sheet = write_contact_sheet(self._sheet, self.num_clips, self.out_mp4.with_suffix(".png"))
        return GeneratedVideo(
            self.prompt, self.seed, self.out_mp4, sheet, self.num_clips, self._frames, self.fps
        )

    def abandon(self) -> None:
        """Removes what is unfinished."""
        if self._writer is not None:
            self._writer.abandon()
