"""The ground truth of black bars: nights, drawn and made of films, as they are and between bars of known size."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from tasks.clips.video_io import decode_bytes, encode, iter_frames

WIDTH, HEIGHT, FRAMES = 160, 96, 8
BOXES = {"letterbox": (12, 12, 0, 0), "pillarbox": (0, 0, 20, 20), "window": (12, 12, 20, 20)}
"""Lines above and below, left and right."""
FILMS = {
    "bigbuckbunny.mp4": 10,
    "bikes.mp4": 10,
    "carphone_pristine.mp4": 10,
    "decord_flipping_a_pancake.mkv": 10,
}
"""Films without bars of their own, and the first frame to take."""


def film(folder: Path, name: str, light: float, noise: float) -> np.ndarray:
    """Frames of a film in so much light, with the grain of a camera at night."""
    frames = _frames(folder / name)
    grain = np.random.default_rng(0).normal(0, noise, frames.shape)
    return np.clip(np.rint(frames * light + grain), 0, 255).astype(np.uint8)


@cache
def _frames(path: Path) -> np.ndarray:
    first = FILMS[path.name]
    picked = islice(iter_frames(path), first, first + 5 * FRAMES, 5)
    return np.stack([cv2.resize(frame, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA) for _, frame in picked])


def drawn_nights() -> dict[str, np.ndarray]:
    """Scenes that are black above, below or beside what is lit."""
    return {
        name: np.clip(draw(np.full((FRAMES, HEIGHT, WIDTH, 3), 2.0, np.float32)), 0, 255).astype(np.uint8)
        for name, draw in _SCENES.items()
    }


def boxed(frames_nhwc: np.ndarray, box: str) -> tuple[np.ndarray, float]:
    """The frames made smaller, between bars, and the share of the picture."""
    top, bottom, left, right = BOXES[box]
    size = WIDTH - left - right, HEIGHT - top - bottom
    shown = np.zeros_like(frames_nhwc)
    for frame, whole in zip(shown, frames_nhwc, strict=True):
        frame[top : HEIGHT - bottom, left : WIDTH - right] = cv2.resize(
            whole, size, interpolation=cv2.INTER_AREA
        )
    return shown, size[0] * size[1] / (WIDTH * HEIGHT)


def through_a_codec(frames_nhwc: np.ndarray, crf: int) -> np.ndarray:
    """The frames as H.264 keeps them."""
    buffer = io.BytesIO()
    encode(buffer, frames_nhwc, 8.0, options={"crf": str(crf)})
    return decode_bytes(buffer.getvalue())[0]


def _lamp(frames: np.ndarray) -> np.ndarray:
    for index, frame in enumerate(frames):
        cv2.circle(frame, (40 + 4 * index, 48), 3, (220, 210, 180), -1)
    return frames


def _skyline(frames: np.ndarray) -> np.ndarray:
    roofs = 40 + (np.cumsum(np.random.default_rng(0).integers(-1, 2, WIDTH // 8)) * 3).repeat(8)
    for column, roof in enumerate(roofs):
        frames[:, roof:, column] = (14, 14, 18)
    frames[:, 62:66, 10:150:9], frames[:, 75:79, 14:150:9] = (200, 170, 90), (180, 160, 80)
    return frames


def _moonlit_sea(frames: np.ndarray) -> np.ndarray:
    frames[:, 50:] = 25
    lines = np.arange(50, HEIGHT)[:, None, None]
    for index, frame in enumerate(frames):
        frame[50:, 70:90] = 90 + 10 * np.sin((lines + index * 3) / 2)
    return frames


def _spotlight(frames: np.ndarray) -> np.ndarray:
    return frames + 200 * np.exp(-(((np.arange(WIDTH) - 80) / 22) ** 2))[:, None]


def _road(frames: np.ndarray) -> np.ndarray:
    frames[:, 60:] += np.linspace(2, 58, HEIGHT - 60)[:, None, None]
    for index, frame in enumerate(frames):
        for column in (60 - 2 * index, 100 + 2 * index):
            cv2.circle(frame, (column, 66), 4, (250, 250, 240), -1)
    return frames


def _stars(frames: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(0)
    for _ in range(40):
        frames[:, rng.integers(HEIGHT), rng.integers(WIDTH)] = rng.integers(60, 255)
    return frames


def _face(frames: np.ndarray) -> np.ndarray:
    for frame in frames:
        cv2.ellipse(frame, (80, 48), (30, 40), 0, 0, 360, (140, 90, 60), -1)
    return frames


def _window(frames: np.ndarray) -> np.ndarray:
    """A lit window that a hand-held camera sees: its straight edges move."""
    for index, frame in enumerate(frames):
        frame[20 + index : 76 + index, 30 + 2 * index : 130 + 2 * index] = (60, 50, 40)
    return frames


def _screens(frames: np.ndarray) -> np.ndarray:
    frames[:, 8:40, 20:60], frames[:, 50:90, 90:150] = (30, 80, 160), (160, 40, 30)
    return frames


_SCENES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "lamp": _lamp,
    "skyline": _skyline,
    "moonlit sea": _moonlit_sea,
    "spotlight": _spotlight,
    "road": _road,
    "stars": _stars,
    "face": _face,
    "window": _window,
    "screens": _screens,
}
