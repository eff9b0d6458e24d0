"""Turns an image into a clip by a slow, seeded zoom or pan; the drawn motion reproduces the clip."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from PIL import Image

KINDS = ("zoom-in", "zoom-out", "pan", "diagonal")
EASINGS = ("linear", "ease-in", "ease-out", "ease-in-out")

SMALLEST_WINDOW = 0.8

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Motion:
    """A window (left, top, right, bottom; parts of the upright image) that moves from `start` to `end`.

    `easing` says how its speed changes on the way; rows of older datasets have none and moved evenly.
    """

    kind: str
    start: Box
    end: Box
    easing: str = "linear"

    def parameters(self) -> dict[str, object]:
        """Gives the motion as plain values for JSON; `Motion(**parameters)` is the same motion again."""
        return asdict(self)


def draw_motion(
    rng: np.random.Generator,
    image_size: tuple[int, int],
    clip_size: tuple[int, int],
    smallest: float = SMALLEST_WINDOW,
) -> Motion:
    """Draws a zoom in, a zoom out, a pan or a diagonal pan with a zoom over an image of size (width, height).

    All windows have the aspect ratio of the clip's (width, height), lie inside the image, are at least the part
    `smallest` of its centre crop and keep near the centre, where the subject is.
    """
    crop_wh = _centre_crop(image_size, clip_size[0] / clip_size[1])
    kind = str(rng.choice(KINDS))
    easing = str(rng.choice(EASINGS))
    if kind == "pan":
        scale = rng.uniform(smallest, (1 + smallest) / 2)
        # Along a line through the centre: at least one axis is moved by the whole room it has.
        shift_xy = rng.choice([-1.0, 1.0], size=2) * rng.permutation([1.0, rng.uniform(0, 1)])
        start, end = (scale, -shift_xy), (scale, shift_xy)
    elif kind == "diagonal":
        wide, near = (
            rng.uniform((1 + smallest) / 2, (3 + smallest) / 4),
            rng.uniform(smallest, (1 + smallest) / 2),
        )
        # Both axes cross nearly all the room they have, while the window grows or shrinks.
        shift_xy = rng.choice([-1.0, 1.0], size=2) * rng.uniform(0.8, 1.0, size=2)
        start, end = (wide, -shift_xy), (near, shift_xy)
        if rng.random() < 0.5:
            start, end = end, start
    else:
        # The room grows with the zoom, so the subject drifts a little while it comes nearer.
        wide, near = rng.uniform((1 + smallest) / 2, 1.0), rng.uniform(smallest, (1 + 3 * smallest) / 4)
        start, end = (wide, rng.uniform(-1, 1, size=2)), (near, rng.uniform(-1, 1, size=2))
        if kind == "zoom-out":
            start, end = end, start
    return Motion(kind, _box(*start, crop_wh, smallest), _box(*end, crop_wh, smallest), easing)


def render(picture: Image.Image, motion: Motion, num_frames: int, width: int, height: int) -> np.ndarray:
    """Renders the clip of a motion over an RGB picture, uint8 (num_frames, height, width, 3), antialiased."""
    parts = ease(np.linspace(0.0, 1.0, num_frames), motion.easing)[:, None]
    boxes = (1 - parts) * np.array(motion.start) + parts * np.array(motion.end)
    boxes_px = np.clip(boxes, 0.0, 1.0) * (*picture.size, *picture.size)
    # Windows between pixels are sampled as they are: rounding them would make the motion jerk.
    frames = [
        picture.resize((width, height), Image.Resampling.BICUBIC, box=(left, top, right, bottom))
        for left, top, right, bottom in boxes_px.tolist()
    ]
    return np.stack([np.asarray(frame) for frame in frames])


def ease(parts: np.ndarray, easing: str) -> np.ndarray:
    """Tells how far along its way (0..1) the window is after these parts (0..1) of the clip's time."""
    if easing == "ease-in":
        return parts**2
    if easing == "ease-out":
        return 1 - (1 - parts) ** 2
    if easing == "ease-in-out":
        return parts**2 * (3 - 2 * parts)
    return parts


def _centre_crop(image_size: tuple[int, int], aspect: float) -> np.ndarray:
    """Width and height, as parts of the image, of the largest window of this aspect ratio."""
    width, height = image_size
    crop_width = min(float(width), height * aspect)
    return np.array([crop_width / width, crop_width / aspect / height])


def _box(scale: float, shift_xy: np.ndarray, crop_wh: np.ndarray, smallest: float) -> Box:
    """Gives the window of a scale, shifted from the centre by a part (-1..1) of the room it has."""
    window_wh = scale * crop_wh
    # A long image has more room along its length than a subject near the centre can stand.
    room_wh = np.minimum((1 - window_wh) / 2, (1 - smallest) / 2 * crop_wh)
    left_top = 0.5 + shift_xy * room_wh - window_wh / 2
    left, top, right, bottom = np.clip(np.concatenate([left_top, left_top + window_wh]), 0.0, 1.0)
    # Few digits, so that the stored text is short; the clip is rendered from the rounded ones.
    return round(float(left), 5), round(float(top), 5), round(float(right), 5), round(float(bottom), 5)
