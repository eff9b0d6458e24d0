"""Films joined from shots of real ones by transitions whose place is known: the ground truth of shot splitting."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from tasks.clips.video_io import encode, iter_frames

WIDTH, HEIGHT, FPS = 320, 180, 25.0
KINDS = ("cut", "dissolve", "fade", "wipe", "black", "flash")
"""`fade` goes through black, `black` cuts to it and out of it; a `flash` is none: the shot goes on behind it."""

# Film, from and to in seconds: each is one shot, looked through frame by frame; what it shows.
SHOTS = (
    ("bigbuckbunny.mp4", 0.0, 5.2, "animated"),
    ("bikes.mp4", 0.0, 1.1, "street"),
    ("bikes.mp4", 1.3, 3.0, "street"),
    ("bikes.mp4", 3.1, 5.4, "street"),
    ("bikes.mp4", 5.6, 7.4, "street"),
    ("bikes.mp4", 7.6, 9.6, "street"),
    ("carphone_pristine.mp4", 0.0, 3.9, "talking"),
    ("decord_flipping_a_pancake.mkv", 0.2, 8.0, "handheld"),
    ("torchcodec_nasa_13013.mp4", 0.0, 4.8, "dark"),
    ("torchcodec_nasa_13013.mp4", 6.2, 8.0, "dark"),
    ("torchcodec_nasa_13013.mp4", 8.2, 12.8, "dark"),
)


@dataclass(frozen=True)
class TrueTransition:
    """Frames `first` to `stop - 1` belong to no shot (none of a cut, which lies before `stop`); `sides` are shown."""

    kind: str
    first: int
    stop: int
    sides: tuple[str, str]


@dataclass
class JoinedFilm:
    """A film of so many transitions and flashes, the same for the same seed; frames are made as they are asked for."""

    videos_dir: Path
    seed: int
    kinds: list[str]
    truth: list[TrueTransition] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """Encodes it, and fills `truth`."""
        self.truth.clear()
        encode(path, self._frames(), FPS, options={"crf": "20"})

    @cached_property
    def _shots(self) -> list[tuple[str, np.ndarray]]:
        shots = []
        for name, start_s, end_s, shows in SHOTS:
            frames = [
                cv2.resize(frame, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
                for time_s, frame in iter_frames(self.videos_dir / name)
                if start_s <= time_s < end_s
            ]
            shots.append((shows, np.stack(frames)))
        return shots

    def _frames(self) -> Iterator[np.ndarray]:
        rng = np.random.default_rng([23, self.seed])
        number = int(rng.integers(len(SHOTS)))
        written, shows, view = 0, *self._view(rng, number)
        for kind in self.kinds:
            other = number if kind == "flash" else int((number + rng.integers(1, len(SHOTS))) % len(SHOTS))
            next_shows, following = (shows, view) if kind == "flash" else self._view(rng, other)
            length = _length(kind, rng)
            clean = int(rng.integers(25, 45))
            yield from view.take(clean)
            mixed = list(_mixed(kind, view, following, length, rng))
            yield from mixed
            first = written + clean
            written = first + len(mixed)
            self.truth.append(TrueTransition(kind, first, written, (shows, next_shows)))
            number, shows, view = other, next_shows, following
        yield from view.take(30)

    def _view(self, rng: np.random.Generator, number: int) -> tuple[str, _View]:
        shows, frames = self._shots[number]
        return shows, _View(frames, int(rng.integers(max(1, len(frames) - 60))))


class _View:
    """A shot that is played, back and forth where it is too short."""

    def __init__(self, frames_nhwc: np.ndarray, start: int) -> None:
        self._frames, self._at, self._step = frames_nhwc, start, 1

    def take(self, count: int) -> Iterator[np.ndarray]:
        for _ in range(count):
            yield self._frames[self._at]
            if not 0 <= self._at + self._step < len(self._frames):
                self._step = -self._step
            self._at += self._step


def _length(kind: str, rng: np.random.Generator) -> int:
    """Frames of a transition or, of a fade, of each half of it."""
    longest = {"cut": (0, 1), "dissolve": (12, 36), "fade": (10, 30), "wipe": (8, 25), "black": (5, 25)}
    return int(rng.integers(*longest.get(kind, (1, 5))))


def _mixed(
    kind: str, view: _View, following: _View, length: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """The frames of a transition."""
    black = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    shares = (np.arange(length) + 1) / (length + 1)
    if kind == "dissolve":
        for share, one, two in zip(shares, view.take(length), following.take(length), strict=True):
            yield cv2.addWeighted(one, 1 - share, two, share, 0)
    elif kind == "wipe":
        for share, one, two in zip(shares, view.take(length), following.take(length), strict=True):
            edge = round(share * WIDTH)
            yield np.concatenate([two[:, :edge], one[:, edge:]], axis=1)
    elif kind == "fade":
        for share, one in zip(shares, view.take(length), strict=True):
            yield cv2.addWeighted(one, 1 - share, black, share, 0)
        yield from [black] * int(rng.integers(1, 10))
        for share, two in zip(shares, following.take(length), strict=True):
            yield cv2.addWeighted(black, 1 - share, two, share, 0)
    elif kind == "black":
        yield from [black] * length
    elif kind == "flash":
        white = np.full_like(black, 255)
        yield from (cv2.addWeighted(one, 0.15, white, 0.85, 0) for one in view.take(length))
