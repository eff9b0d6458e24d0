"""VidRD's failure signatures as numbers of one video, read from its pixels."""

from __future__ import annotations

import numpy as np

from vidrd_model.metrics.seams import frame_steps


def cycling(frames_thwc: np.ndarray, frames_per_clip: int, prompt_frames: int) -> float | None:
    """The share of free frames that are nearer to an earlier clip than neighbours are to each other."""
    total = len(frames_thwc)
    if total <= frames_per_clip:
        return None
    usual = float(np.median(frame_steps(frames_thwc)))
    frames = frames_thwc.astype(np.float32)
    repeats = []
    for start in range(frames_per_clip, total, frames_per_clip):
        earlier = frames[: start - prompt_frames]
        for frame in frames[start + prompt_frames : start + frames_per_clip]:
            repeats.append(np.abs(earlier - frame).mean(axis=(1, 2, 3)).min() <= usual)
    return float(np.mean(repeats)) if repeats else None


def frozen_share(frames_thwc: np.ndarray) -> float:
    """The share of steps without motion."""
    return float((frame_steps(frames_thwc) < 0.1).mean())


def pixel_consistency(frames_thwc: np.ndarray) -> float:
    """Mean similarity of neighbouring frames, 1 for equal ones."""
    return float(1 - frame_steps(frames_thwc).mean() / 255)
