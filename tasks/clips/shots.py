"""Splits a stream of small frames into shots, in one pass: cuts part them, fades and dissolves go, flashes are odd."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from tasks.clips.detectors import cut_detector
from tasks.clips.dissolves import DissolveFinder
from tasks.clips.fades import MAX_FADE_S, FadeFinder
from tasks.clips.flashes import FlashFilter, Seen
from tasks.clips.settings import ClipSettings
from tasks.clips.transition import Transition


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
    odd: bool = False
    black_or_fading: bool = False


class ShotFinder:
    """Takes small frames in order and gives shots of at least `min_shot_s` as soon as they are certain.

    It holds a few numbers a frame, for at most `max_shot_s` and the seconds that a fade may take. No frame before
    `first` will be part of a shot that is still to come.
    """

    def __init__(self, settings: ClipSettings) -> None:
        self._settings = settings
        self._flashes = FlashFilter(settings.max_flash_s)
        self._fades = FadeFinder()
        self._dissolves = DissolveFinder()
        self._detector = cut_detector(settings)
        self._frames: deque[_Frame] = deque()  # from `first` on
        self._transitions: deque[Transition] = deque()
        self.first = 0
        self._certain = 0  # no boundary that is still to be found lies before this frame
        self._searched = 0  # no black or fading frame lies between `first` and this frame

    def push(self, time_s: float, small_hwc: np.ndarray) -> list[Shot]:
        """Takes in the next frame, RGB (h, w, 3), and gives the shots that are certain now, often none."""
        index = self.first + len(self._frames)
        self._frames.append(_Frame(time_s))
        for seen in self._flashes.push(index, time_s, small_hwc):
            self._take(seen)
        # A cut may lie in a fade that has yet to reach black: wait for as long as fades take.
        known = self._detector.known_until - 1
        while (
            max(self._certain, self.first) <= known
            and self._frame(known).time_s - self._frame(max(self._certain, self.first)).time_s > MAX_FADE_S
        ):
            self._certain = max(self._certain, self.first) + 1
        return [*self._between_boundaries(), *self._full_piece()]

    def finish(self) -> list[Shot]:
        """Gives the shots that are left at the end of the stream."""
        for seen in self._flashes.finish():
            self._take(seen)
        self._transitions.extend(self._detector.finish())
        self._certain = self.first + len(self._frames)
        return [*self._between_boundaries(), *self._shots_before(self._certain)]

    def _take(self, seen: Seen) -> None:
        if seen.odd:
            self._frame(seen.number).odd = True
            return
        frame = (seen.number, self._frame(seen.number).time_s, seen.small_hwc)
        for number in (*self._fades.push(*frame), *self._dissolves.push(*frame)):
            if number >= self.first:
                self._frame(number).black_or_fading = True
                self._searched = min(self._searched, number)
        for transition in self._detector.push(seen.number, seen.small_hwc):
            # Behind a flash the picture has moved on a little: its two sides are alike, so that is no cut.
            if transition.stop > self.first and not self._frame(transition.stop - 1).odd:
                self._transitions.append(transition)

    def _between_boundaries(self) -> list[Shot]:
        """Gives the shots that end at a transition, at black frames or at a fade."""
        shots: list[Shot] = []
        while True:
            while self.first < self._certain and self._frame(self.first).black_or_fading:
                self._forget(self.first + 1)
            fading = self._next_fading()
            transition = self._transitions[0] if self._transitions else None
            if transition is not None and transition.first < min(self._certain, fading or self._certain):
                shots += self._shots_before(transition.first)
                self._forget(transition.stop)
                self._transitions.popleft()
            elif fading is not None:
                shots += self._shots_before(fading)
                self._forget(fading)
            else:
                return shots

    def _next_fading(self) -> int | None:
        for index in range(max(self._searched, self.first), self._certain):
            if self._frame(index).black_or_fading:
                return index
            self._searched = index + 1
        return None

    def _full_piece(self) -> list[Shot]:
        """Gives a full piece of a shot that goes on, if there is one."""
        last_certain = self._certain - 1
        if (
            last_certain <= self.first
            or self._frame(last_certain).time_s - self._frame(self.first).time_s < self._settings.max_shot_s
        ):
            return []
        stop = self._piece_stop(self.first, self._certain)
        shots = self._shots_before(stop)
        self._forget(stop)
        return shots

    def _piece_stop(self, first: int, stop: int) -> int:
        end_s = self._frame(first).time_s + self._settings.max_shot_s
        return next((i for i in range(first + 1, stop) if self._frame(i).time_s >= end_s - 1e-6), stop)

    def _shots_before(self, stop: int) -> list[Shot]:
        """Gives the shot from `first` to a frame, in pieces."""
        shots, first = [], self.first
        while first < stop:
            piece_stop = self._piece_stop(first, stop)
            odd = frozenset(index for index in range(first, piece_stop) if self._frame(index).odd)
            shot = Shot(self._frame(first).time_s, self._end_s(piece_stop), first, piece_stop, odd)
            if shot.end_s - shot.start_s >= self._settings.min_shot_s - 1e-6:
                shots.append(shot)
            first = piece_stop
        return shots

    def _end_s(self, stop: int) -> float:
        if stop < self.first + len(self._frames):
            return self._frame(stop).time_s
        last, before = self._frames[-1], self._frames[-2] if len(self._frames) > 1 else self._frames[-1]
        return 2 * last.time_s - before.time_s

    def _forget(self, before: int) -> None:
        while self.first < before and self._frames:
            self._frames.popleft()
            self.first += 1

    def _frame(self, index: int) -> _Frame:
        return self._frames[index - self.first]
