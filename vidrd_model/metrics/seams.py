"""How a video moves from frame to frame, read from its pixels: motion, and jumps where two clips meet.

A step is the mean absolute difference of two neighbouring frames. VidRD's videos can jump in two places: at
the boundary between clips, and in a later clip between its last guided frame M-1 and its first free frame M.
"""

from dataclasses import dataclass

import numpy as np


def frame_steps(frames_thwc: np.ndarray) -> np.ndarray:
    """Mean absolute pixel difference (t-1,), in grey levels 0 to 255, of neighbouring frames (t, h, w, 3)."""
    frames = np.asarray(frames_thwc, dtype=np.float32)
    if len(frames) < 2:
        raise ValueError("a step needs two frames")
    return np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2, 3))


def motion_amount(frames_thwc: np.ndarray) -> float:
    """The usual step of a video in grey levels; 0 when it is frozen."""
    return float(np.median(frame_steps(frames_thwc)))


def clip_starts(frames: int, frames_per_clip: int) -> range:
    """The first frame of every later clip; ValueError unless there are whole clips."""
    if frames % frames_per_clip:
        raise ValueError(f"{frames} frames are not whole clips of {frames_per_clip}")
    return range(frames_per_clip, frames, frames_per_clip)


def usual_step(frames_thwc: np.ndarray, frames_per_clip: int, prompt_frames: int) -> float:
    """The median step, in grey levels, of those that are no seam."""
    boundaries, guided = _seam_steps(len(frames_thwc), frames_per_clip, prompt_frames)
    return float(np.median(np.delete(frame_steps(frames_thwc), boundaries + guided)))


@dataclass(frozen=True)
class SeamRatios:
    """Steps at the seams over the usual step: about 1 is smooth, above 2 a jump, far below 1 a pause."""

    boundary: float
    guided_to_free: float


def seam_ratios(frames_thwc: np.ndarray, frames_per_clip: int, prompt_frames: int) -> SeamRatios | None:
    """The largest ratio of each kind over all later clips of one video, or None for a single clip.

    The usual step is the median over the steps that are no seam. Frames (t, h, w, 3), t a multiple of
    `frames_per_clip`; ValueError otherwise.
    """
    if not clip_starts(len(frames_thwc), frames_per_clip):
        return None
    boundaries, guided = _seam_steps(len(frames_thwc), frames_per_clip, prompt_frames)
    steps = frame_steps(frames_thwc)
    # A frozen video has no usual step; any jump in it counts as huge.
    usual = max(usual_step(frames_thwc, frames_per_clip, prompt_frames), 1e-3)
    return SeamRatios(
        boundary=float(steps[boundaries].max() / usual),
        guided_to_free=float(steps[guided].max() / usual) if guided else 0.0,
    )


def _seam_steps(frames: int, frames_per_clip: int, prompt_frames: int) -> tuple[list[int], list[int]]:
    """The steps into a later clip, and those from its last guided frame to its first free one."""
    starts = clip_starts(frames, frames_per_clip)
    free = 0 < prompt_frames < frames_per_clip
    return [start - 1 for start in starts], [start + prompt_frames - 1 for start in starts] if free else []
