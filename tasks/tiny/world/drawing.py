"""Draws the tiny world: one coloured shape that crosses the middle of a plain dark ground."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (230, 40, 40),
    "green": (40, 200, 60),
    "blue": (50, 80, 235),
    "yellow": (235, 220, 50),
    "magenta": (220, 60, 220),
    "cyan": (60, 220, 220),
    "white": (240, 240, 240),
    "orange": (245, 140, 30),
}
SHAPES: tuple[str, ...] = ("circle", "square", "triangle")
DIRECTIONS: dict[str, tuple[int, int]] = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}

# All lengths are in pixels of a 64-pixel frame and scale with the frame's size.
WIDTH_RANGE_PX = (16.0, 22.0)
SPEED_RANGE_PX_PER_FRAME = (3.5, 5.0)
MAX_OFFSET_PX = 6.0
GROUND_RANGE = (4, 44)
SUPERSAMPLING = 4


@dataclass(frozen=True)
class Scene:
    """What a clip shows; without a direction it is a still image."""

    colour: str
    shape: str
    direction: str | None = None

    @property
    def caption(self) -> str:
        """The sentence that describes the scene, as the captions of the tiny world have it."""
        motion = "" if self.direction is None else f" moving {self.direction}"
        return f"a {self.colour} {self.shape}{motion}"


def random_scene(rng: np.random.Generator, moving: bool = True) -> Scene:
    """Draws colour, shape and (for a moving scene) direction, each uniformly."""
    colour = str(rng.choice(list(COLOURS)))
    shape = str(rng.choice(SHAPES))
    return Scene(colour, shape, str(rng.choice(list(DIRECTIONS))) if moving else None)


def draw_clip(scene: Scene, rng: np.random.Generator, num_frames: int = 8, size: int = 64) -> np.ndarray:
    """Draws `num_frames` frames of a moving scene, uint8 (n, h, w, 3); the middle frames lie near the centre."""
    if scene.direction is None:
        raise ValueError("draw_clip needs a scene with a direction; draw_image draws still ones")
    width_px = rng.uniform(*WIDTH_RANGE_PX)
    speed_px = rng.uniform(*SPEED_RANGE_PX_PER_FRAME)
    offset_xy = rng.uniform(-MAX_OFFSET_PX, MAX_OFFSET_PX, size=2)
    ground = _random_ground(rng)
    direction_xy = np.array(DIRECTIONS[scene.direction], dtype=float)
    # Along the motion the offset is a third: the shape must still cross the middle of the frame.
    start_xy = 32.0 + np.where(direction_xy != 0, offset_xy / 3, offset_xy)
    times = np.arange(num_frames) - (num_frames - 1) / 2
    centres = start_xy[None] + times[:, None] * speed_px * direction_xy[None]
    return np.stack([_draw_frame(scene, centre, width_px, ground, size) for centre in centres])


def draw_image(scene: Scene, rng: np.random.Generator, size: int = 64) -> np.ndarray:
    """Draws one still frame of the scene, uint8 (h, w, 3), the shape anywhere it fits whole."""
    width_px = rng.uniform(*WIDTH_RANGE_PX)
    centre_xy = 32.0 + rng.uniform(-20, 20, size=2)
    return _draw_frame(scene, centre_xy, width_px, _random_ground(rng), size)


def _random_ground(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(*GROUND_RANGE, size=3).astype(float)


def _draw_frame(
    scene: Scene, centre_xy: np.ndarray, width_px: float, ground: np.ndarray, size: int
) -> np.ndarray:
    fine = size * SUPERSAMPLING
    grid = (np.arange(fine) + 0.5) * (64.0 / fine)
    x, y = grid[None, :] - centre_xy[0], grid[:, None] - centre_xy[1]
    inside = _inside(scene.shape, x, y, width_px / 2)
    coverage = inside.reshape(size, SUPERSAMPLING, size, SUPERSAMPLING).mean(axis=(1, 3))[..., None]
    colour = np.array(COLOURS[scene.colour], dtype=float)
    return np.round(coverage * colour + (1 - coverage) * ground).astype(np.uint8)


def _inside(shape: str, x: np.ndarray, y: np.ndarray, half: float) -> np.ndarray:
    if shape == "circle":
        return x**2 + y**2 <= half**2
    if shape == "square":
        return (np.abs(x) <= half) & (np.abs(y) <= half)
    # An isosceles triangle that points up and fills its box of 2 * half by 2 * half.
    return (np.abs(y) <= half) & (np.abs(x) <= (y + half) / 2)
