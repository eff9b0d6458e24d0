"""Texts that begin at a second of the video: `--at SECONDS:PROMPT`."""

from __future__ import annotations

import re

from flows.generate.edit import Edit
from flows.generate.given import Given
from flows.generate.jobs import VideoJob
from tasks.errors import RequestError
from tasks.generation.settings import SamplingSettings
from vidrd_model.frame_times import FrameTimes

_CHANGE = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*:(.*)", re.DOTALL)


def read_changes(at: list[str]) -> dict[float, str]:
    """The texts by the seconds that they begin at, in their order. RequestError for one that is not so written."""
    changes: dict[float, str] = {}
    for change in at:
        match = _CHANGE.fullmatch(change)
        if match is None or not match[2].strip():
            raise RequestError(f"at: write it as SECONDS:PROMPT, such as '1.5:a blue circle', not {change!r}")
        seconds = float(match[1])
        if seconds in changes:
            raise RequestError(f"at: two texts begin at {seconds:g} s")
        changes[seconds] = match[2].strip()
    return dict(sorted(changes.items()))


def check_changes(
    job: VideoJob,
    clips: int,
    given: Given | None,
    edit: Edit | None,
    loop: bool,
    sampling: SamplingSettings,
) -> None:
    """RequestError where a text would begin at no frame of its own, or where the way of sampling has no such frames."""
    if not job.seconds:
        return
    if sampling.method != "vidrd":
        raise RequestError(
            f"at: method {sampling.method} has one text for a window; vidrd has one for a frame"
        )
    frames = job.begins(sampling.fps)
    m, seam = sampling.prompt_frames, sampling.seam
    times = FrameTimes.of(sampling.num_frames, seam, m, loop, given is not None)
    end = times.of_clip(clips - 1).stop if edit is None else edit.num_frames
    for seconds, frame, before in zip(job.seconds, frames[1:], frames, strict=False):
        if frame >= end:
            raise RequestError(
                f"at: {seconds:g} s is not before the end: {end} new frames at {sampling.fps:g} a second last "
                f"{end / sampling.fps:.2f} s"
            )
        if frame <= before:
            raise RequestError(
                f"at: at {sampling.fps:g} frames a second the text of {seconds:g} s begins no later than the one before"
            )
