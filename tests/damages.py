"""What can be wrong with clips, in three strengths each: blur, noise, frames out of order, freezes, wrong motion.

Each damages uint8 clips (n, t, h, w, 3) and leaves them so; what is drawn is drawn from the seed alone.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

Damage = Callable[[np.ndarray, float], np.ndarray]


def blur(clips_nthwc: np.ndarray, sigma_px: float) -> np.ndarray:
    """Every frame smoothed by a Gaussian."""
    frames = clips_nthwc.reshape(-1, *clips_nthwc.shape[2:])
    return np.stack([cv2.GaussianBlur(frame, (0, 0), sigma_px) for frame in frames]).reshape(
        clips_nthwc.shape
    )


def noise(clips_nthwc: np.ndarray, sigma_levels: float) -> np.ndarray:
    """Gaussian noise, new in every frame."""
    drawn = np.random.default_rng(0).normal(0, sigma_levels, clips_nthwc.shape)
    return np.clip(np.round(clips_nthwc + drawn), 0, 255).astype(np.uint8)


def shuffle(clips_nthwc: np.ndarray, share: float) -> np.ndarray:
    """This share of each clip's frames, drawn anew for each clip, in a random order."""
    rng = np.random.default_rng(0)
    shuffled = clips_nthwc.copy()
    for clip in shuffled:
        places = np.sort(rng.permutation(len(clip))[: round(share * len(clip))])
        clip[places] = clip[rng.permutation(places)]
    return shuffled


def freeze(clips_nthwc: np.ndarray, share: float) -> np.ndarray:
    """The last share of the frames repeats the one before them; of a share of 1 the first."""
    frames = clips_nthwc.shape[1]
    still = max(frames - round(share * frames) - 1, 0)
    return clips_nthwc[:, np.minimum(np.arange(frames), still)]


def wrong_motion(clips_nthwc: np.ndarray, px_per_frame: float) -> np.ndarray:
    """A drift to the right and downwards on top of the true motion, wrapped around the frame's edges."""
    frames = clips_nthwc.shape[1]
    moved = [np.roll(clips_nthwc[:, t], round(px_per_frame * t), axis=(1, 2)) for t in range(frames)]
    return np.stack(moved, axis=1)


DAMAGES: dict[str, tuple[Damage, tuple[float, float, float]]] = {
    "blur": (blur, (1.0, 3.0, 8.0)),
    "noise": (noise, (3.0, 8.0, 20.0)),
    "shuffle": (shuffle, (0.1875, 0.5, 1.0)),
    "freeze": (freeze, (0.25, 0.5, 1.0)),
    "wrong motion": (wrong_motion, (1.0, 2.0, 4.0)),
}
