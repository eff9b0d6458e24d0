"""Whether a video is interlaced or telecined, by its pixels: flags lie in both directions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np

from tasks.clips.animations import animation_kind
from tasks.clips.deinterlacing import Scan
from tasks.clips.keyframes import seek_to_keyframe
from tasks.clips.reading import iter_decoded, open_video, probe
from tasks.corpora.media import Media
from tasks.errors import ItemError

FRAMES_AT_START, FRAMES_IN_MIDDLE = 60, 40
ENOUGH_MOVING = 12  # frames of motion without a tooth, and without a flag, are looked at no further
MIDDLE_FROM_S = 20.0  # longer videos may begin with a title that says nothing of what follows
MOVED_LEVELS, TOOTH_LEVELS = 10, 9
MOVED_PART, COMBED_PART = 5e-4, 0.06  # of a frame's pixels, of those that moved
PARITY_RATIO = 1.04  # as in libav's idet
CADENCE, REPEATED_RATIO, STILL_LEVELS = 5, 3.0, 0.5
MAX_COLUMNS = 720
_LUMA_FIRST = ("yuv420p", "yuv422p", "yuv444p", "yuvj4", "yuva4")


@dataclass
class _Seen:
    """What was counted over the frames of one file."""

    frames: int = 0
    flagged: int = 0
    moving: int = 0
    combed: int = 0
    first: Counter[str] = field(default_factory=Counter)
    repeats: list[tuple[int, str]] = field(default_factory=list)

    @property
    def order(self) -> Scan:
        return "tff" if self.first["tff"] >= self.first["bff"] else "bff"


def scan_of(source: Media | Path) -> Scan | None:
    """Tells how a video has to be made whole, None where its frames are whole; ItemError where it cannot be read.

    A part of its frames is decoded: the first ones and, of longer ones that can be sought in, some in the middle.
    """
    if animation_kind(source) is not None:
        return None
    seen = _Seen()
    _look(seen, islice(iter_decoded(source), FRAMES_AT_START))
    telecine = _is_telecine(seen)
    middle_s = _middle_s(source)
    if middle_s is not None and not telecine:
        with suppress(ItemError):  # damage further on is for those to find who need what lies there
            _look(seen, islice(iter_decoded(source, middle_s), FRAMES_IN_MIDDLE))
    if telecine:
        return "tff-telecine" if seen.order == "tff" else "bff-telecine"
    votes, most = seen.first.total(), max(seen.first.values(), default=0)
    # Fewer frames have teeth where film was telecined, or is cut between; then nearly all have to say the same.
    for combed_part, least_votes, agreeing_part in ((0.6, 3, 0.8), (0.2, 6, 0.9)):
        enough = seen.combed >= combed_part * seen.moving and votes >= least_votes
        if enough and most >= agreeing_part * votes:
            return seen.order
    if seen.flagged * 2 <= seen.frames:
        return None
    if seen.combed >= max(1, 0.1 * seen.moving):
        return seen.order if votes else "auto"
    # Film, each frame split into two fields and joined again, is flagged too: motion without teeth shows it.
    return None if seen.moving >= ENOUGH_MOVING // 2 else "auto"


def _middle_s(source: Media | Path) -> float | None:
    duration_s = probe(source).duration_s or 0.0
    if duration_s < MIDDLE_FROM_S:
        return None
    with open_video(source) as (container, stream):
        return duration_s / 2 if seek_to_keyframe(container, stream, duration_s / 2) is not None else None


def _look(seen: _Seen, frames: Iterator[Any]) -> None:
    """Counts what a run of consecutive frames shows."""
    before: list[np.ndarray] = []
    moving_before = seen.moving
    for number, decoded in enumerate(frames):
        seen.frames += 1
        seen.flagged += bool(decoded.frame.interlaced_frame)
        luma = _luma(decoded.frame)
        if before and before[-1].shape != luma.shape:
            before = []
        if before:
            seen.repeats += [(number, kind) for kind in _repeated(before[-1], luma)]
        before = [*before[-2:], luma]
        if len(before) == 3:
            _count(seen, *before)
        if seen.moving - moving_before >= ENOUGH_MOVING and not seen.combed and not seen.flagged:
            return


def _count(seen: _Seen, past: np.ndarray, now: np.ndarray, next_: np.ndarray) -> None:
    moved = ((np.abs(now - past) > MOVED_LEVELS) | (np.abs(next_ - now) > MOVED_LEVELS))[2:-2]
    if moved.sum() < max(16.0, MOVED_PART * moved.size):
        return
    seen.moving += 1
    up, down = now[2:-2] - now[1:-3], now[2:-2] - now[3:-1]
    teeth = ((up > TOOTH_LEVELS) & (down > TOOTH_LEVELS)) | ((up < -TOOTH_LEVELS) & (down < -TOOTH_LEVELS))
    # Over five lines, so that one thin line is none.
    teeth &= np.abs(now[:-4] + 4 * now[2:-2] + now[4:] - 3 * (now[1:-3] + now[3:-1])) > 6 * TOOTH_LEVELS
    if (teeth & moved).sum() < max(16.0, COMBED_PART * moved.sum()):
        return
    seen.combed += 1
    top_first, bottom_first = _misfits(past, now, next_, moved)
    if top_first > PARITY_RATIO * bottom_first:
        seen.first["tff"] += 1
    elif bottom_first > PARITY_RATIO * top_first:
        seen.first["bff"] += 1


def _misfits(past: np.ndarray, now: np.ndarray, next_: np.ndarray, moved: np.ndarray) -> tuple[float, float]:
    """How ill moving lines of the frames beside fit between this one's, if top or bottom comes first."""
    around = now[1:-3] + now[3:-1]
    of_past = (np.abs(around - 2 * past[2:-2]) * moved).sum(axis=1)
    of_next = (np.abs(around - 2 * next_[2:-2]) * moved).sum(axis=1)
    return (
        float(of_past[0::2].sum() + of_next[1::2].sum()),
        float(of_past[1::2].sum() + of_next[0::2].sum()),
    )


def _repeated(past: np.ndarray, now: np.ndarray) -> Iterator[str]:
    """Tells which field is the one of the frame before, where the other is not."""
    top, bottom = (float(np.abs(now[field::2] - past[field::2]).mean()) for field in (0, 1))
    if top * REPEATED_RATIO < bottom and bottom > STILL_LEVELS:
        yield "top"
    elif bottom * REPEATED_RATIO < top and top > STILL_LEVELS:
        yield "bottom"


def _is_telecine(seen: _Seen) -> bool:
    """Tells whether fields come again as in 3:2 pulldown: each kind once in five frames, two or three apart."""
    places = {kind: Counter[int]() for kind in ("top", "bottom")}
    for number, kind in seen.repeats:
        places[kind][number % CADENCE] += 1
    if not seen.combed or any(places[kind].total() < 3 for kind in places):
        return False
    usual = {kind: counts.most_common(1)[0] for kind, counts in places.items()}
    regular = all(usual[kind][1] >= 0.8 * places[kind].total() for kind in places)
    return regular and (usual["top"][0] - usual["bottom"][0]) % CADENCE in (2, 3)


def _luma(frame: av.VideoFrame) -> np.ndarray:
    """The frame's luma, int16 (h, w), of wide frames some of the columns."""
    eight_bits = all(part.bits == 8 for part in frame.format.components)
    if not eight_bits or not frame.format.name.startswith(_LUMA_FIRST):
        frame = frame.reformat(format="gray", threads=1)
    plane = frame.planes[0]
    luma = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[
        : plane.height, : plane.width
    ]
    return luma[:, :: 1 + plane.width // MAX_COLUMNS].astype(np.int16)
