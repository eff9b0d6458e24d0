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
    total = len(frames_thwc)
    if total % frames_per_clip:
        raise ValueError(f"{total} frames are not whole clips of {frames_per_clip}")
    starts = range(frames_per_clip, total, frames_per_clip)
    if not starts:
        return None
    steps = frame_steps(frames_thwc)
    boundaries = [start - 1 for start in starts]
    free = 0 < prompt_frames < frames_per_clip
    guided = [start + prompt_frames - 1 for start in starts] if free else []
    usual = np.median(np.delete(steps, boundaries + guided))
    usual = max(float(usual), 1e-3)  # a frozen video has no usual step; any jump in it counts as huge
    return SeamRatios(
        boundary=float(steps[boundaries].max() / usual),
        guided_to_free=float(steps[guided].max() / usual) if guided else 0.0,
    )
