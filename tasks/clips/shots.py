"""Splits a stream of small frames into shots, in one pass: cuts part them, fades are trimmed, flashes marked."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from tasks.clips.detectors import Transition, cut_detector
from tasks.clips.fades import MAX_FADE_S, brightness, is_dark, ramp_length
from tasks.clips.flashes import FlashFilter, Seen
from tasks.clips.settings import ClipSettings


@dataclass(frozen=True)
class Shot:
    """Frames `first` to `stop - 1` of a stream, between two cuts or fades, or a piece of a long shot.

    `end_s` is the time of the frame `stop`; `odd` are the frames of flashes, which no clip may show.
    """

    start_s: float
    end_s: float
    first: int
    stop: int
    odd: frozenset[int]


@dataclass
class _Frame:
    time_s: float
    level: float
    dark: bool
    odd: bool = False


class ShotFinder:
    """Takes small frames in order and gives shots of at least `min_shot_s` as soon as they are certain.

    It holds a few numbers a frame, for at most `max_shot_s` and the seconds that a fade may take. No frame before
    `first` will be part of a shot that is still to come.
    """

    def __init__(self, settings: ClipSettings) -> None:
        self._settings = settings
        self._flashes = FlashFilter(settings.max_flash_s)
        self._detector = cut_detector(settings)
        self._frames: deque[_Frame] = deque()  # from `first` on
        self._transitions: deque[Transition] = deque()
        self.first = 0
        self._not_dark_before = 0
        self._after_dark = False

    def push(self, time_s: float, small_hwc: np.ndarray) -> list[Shot]:
        """Takes in the next frame, RGB (h, w, 3), and gives the shots that are certain now, often none."""
        index = self.first + len(self._frames)
        brightness_hw = brightness(small_hwc)
        self._frames.append(_Frame(time_s, float(brightness_hw.mean()), is_dark(brightness_hw)))
        for seen in self._flashes.push(index, time_s, small_hwc):
            self._take(seen)
        shots = self._between_boundaries(self._detector.settled)
        return [*shots, *self._piece(self._detector.settled)]

    def finish(self) -> list[Shot]:
        """Gives the shots that are left at the end of the stream."""
        for seen in self._flashes.finish():
            self._take(seen)
        self._transitions.extend(self._detector.finish())
        stop = self.first + len(self._frames)
        shots = self._between_boundaries(stop)
        return [*shots, *self._shots(stop, before_dark=False)]

    def _take(self, seen: Seen) -> None:
        if seen.odd:
            self._frame(seen.number).odd = True
            return
        for transition in self._detector.push(seen.number, seen.small_hwc):
            # Behind a flash the picture has moved on a little: its two sides are alike, so that is no cut.
            if transition.stop > self.first and not self._frame(transition.stop - 1).odd:
                self._transitions.append(transition)

    def _between_boundaries(self, settled: int) -> list[Shot]:
        """The shots that end at a transition or at dark frames before the frame `settled`."""
        shots: list[Shot] = []
        while True:
            while self._frames and self.first < settled and self._is_dark(self.first):
                self._after_dark = True
                self._forget(self.first + 1)
            dark = self._next_dark(settled)
            transition = self._transitions[0] if self._transitions else None
            if (
                transition is not None
                and transition.first < settled
                and (dark is None or transition.first <= dark)
            ):
                shots += self._shots(transition.first, before_dark=False)
                self._forget(transition.stop)
                self._transitions.popleft()
            elif dark is not None:
                shots += self._shots(dark, before_dark=True)
                self._forget(dark)
            else:
                return shots

    def _next_dark(self, settled: int) -> int | None:
        for index in range(
            max(self._not_dark_before, self.first), min(settled, self.first + len(self._frames))
        ):
            if self._is_dark(index):
                return index
            self._not_dark_before = index + 1
        return None

    def _piece(self, settled: int) -> list[Shot]:
        """A full piece of a shot that goes on, once no cut and no fade can reach into it any more."""
        if settled <= self.first:
            return []
        known_s = self._frame(settled - 1).time_s - self._frame(self.first).time_s
        if known_s < self._settings.max_shot_s + MAX_FADE_S:
            return []
        stop = self._piece_stop(self.first, settled)
        shots = self._shots(stop, before_dark=False)
        self._forget(stop)
        return shots

    def _piece_stop(self, first: int, stop: int) -> int:
        end_s = self._frame(first).time_s + self._settings.max_shot_s
        return next((i for i in range(first + 1, stop) if self._frame(i).time_s >= end_s - 1e-6), stop)

    def _shots(self, stop: int, before_dark: bool) -> list[Shot]:
        """The shot from `first` to a frame, without fades, in pieces."""
        first, stop = self._trimmed(stop, before_dark)
        shots = []
        while first < stop:
            piece_stop = self._piece_stop(first, stop)
            odd = frozenset(index for index in range(first, piece_stop) if self._frame(index).odd)
            shot = Shot(self._frame(first).time_s, self._end_s(piece_stop), first, piece_stop, odd)
            if shot.end_s - shot.start_s >= self._settings.min_shot_s:
                shots.append(shot)
            first = piece_stop
        return shots

    def _trimmed(self, stop: int, before_dark: bool) -> tuple[int, int]:
        indices = [index for index in range(self.first, stop) if not self._frame(index).odd]
        if indices and self._after_dark:
            indices = indices[self._ramp(indices) :]
        if indices and before_dark:
            indices = indices[: len(indices) - self._ramp(indices[::-1])]
        return (indices[0], indices[-1] + 1) if indices else (stop, stop)

    def _ramp(self, indices_from_dark: list[int]) -> int:
        beside_s = self._frame(indices_from_dark[0]).time_s
        near = [i for i in indices_from_dark if abs(self._frame(i).time_s - beside_s) <= MAX_FADE_S]
        return ramp_length([self._frame(index).level for index in near])

    def _end_s(self, stop: int) -> float:
        if stop < self.first + len(self._frames):
            return self._frame(stop).time_s
        last, before = self._frames[-1], self._frames[-2] if len(self._frames) > 1 else self._frames[-1]
        return 2 * last.time_s - before.time_s

    def _forget(self, before: int) -> None:
        if before > self.first and not self._is_dark(before - 1):
            self._after_dark = False
        while self.first < before and self._frames:
            self._frames.popleft()
            self.first += 1

    def _is_dark(self, index: int) -> bool:
        frame = self._frame(index)
        return frame.dark and not frame.odd

    def _frame(self, index: int) -> _Frame:
        return self._frames[index - self.first]


def shots_of(timed_frames: Iterable[tuple[float, np.ndarray]], settings: ClipSettings) -> Iterator[Shot]:
    """Yields the shots of a whole stream of (time in seconds, small RGB frame (h, w, 3)) in order."""
    finder = ShotFinder(settings)
    for time_s, small_hwc in timed_frames:
        yield from finder.push(time_s, small_hwc)
    yield from finder.finish()
