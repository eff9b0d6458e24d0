"""Reads colour, shape and motion of the tiny world from frames alone; it knows nothing of any model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.tiny.world.drawing import COLOURS, DIRECTIONS

MIN_AREA_PX = 40


@dataclass(frozen=True)
class Reading:
    """What the frames show; centres are (x, y) in pixels, nan where a frame shows no object."""

    colour: str
    shape: str
    direction: str
    centres_n2: np.ndarray

    @property
    def steps_px(self) -> np.ndarray:
        """How far the object moves from each frame to the next, in pixels."""
        return np.linalg.norm(np.diff(self.centres_n2, axis=0), axis=1)


def read_clip(frames_nhwc: np.ndarray) -> Reading:
    """Reads uint8 frames (n, h, w, 3) of one object on a dark ground."""
    masks = [object_mask(frame) for frame in frames_nhwc]
    centres = np.array([_centre(mask) for mask in masks])
    seen = [
        (frame, mask) for frame, mask in zip(frames_nhwc, masks, strict=True) if mask.sum() >= MIN_AREA_PX
    ]
    if not seen:
        return Reading("none", "none", "none", centres)
    return Reading(_colour(seen), _shape(seen), _direction(centres), centres)


def object_mask(frame_hwc: np.ndarray) -> np.ndarray:
    """The pixels that are not ground: brighter than any ground (every channel under 45) by a margin."""
    return frame_hwc.max(axis=2) > 100


def _centre(mask_hw: np.ndarray) -> np.ndarray:
    if mask_hw.sum() < MIN_AREA_PX:
        return np.array([np.nan, np.nan])
    y, x = np.nonzero(mask_hw)
    return np.array([x.mean(), y.mean()])


def _colour(seen: list[tuple[np.ndarray, np.ndarray]]) -> str:
    """The palette colour nearest to the object's median colour."""
    median = np.median(np.concatenate([frame[mask] for frame, mask in seen]), axis=0)
    return min(COLOURS, key=lambda name: float(np.linalg.norm(median - np.array(COLOURS[name]))))


def _shape(seen: list[tuple[np.ndarray, np.ndarray]]) -> str:
    """By the share of its bounding box that the object fills: triangle 1/2, circle pi/4, square 1."""
    shares = []
    for _frame, mask in seen:
        if mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any():
            continue  # cut by the frame's edge
        y, x = np.nonzero(mask)
        shares.append(len(x) / ((np.ptp(x) + 1) * (np.ptp(y) + 1)))
    if not shares:
        return "none"
    filled = float(np.median(shares))
    return min(
        {"triangle": 0.52, "circle": 0.785, "square": 0.97}.items(), key=lambda item: abs(item[1] - filled)
    )[0]


def _direction(centres_n2: np.ndarray) -> str:
    """The direction whose axis and sign the movement from the first to the last seen frame has."""
    known = centres_n2[~np.isnan(centres_n2[:, 0])]
    if len(known) < 2:
        return "none"
    moved = known[-1] - known[0]
    if np.abs(moved).max() < 4:
        return "none"
    return max(DIRECTIONS, key=lambda name: float(moved @ np.array(DIRECTIONS[name])))
