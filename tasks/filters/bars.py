"""Black bars: how much of a frame is picture, between bars above and below (letterbox) or beside it (pillarbox).

A bar is black in every frame of a clip and ends in all of them at the same line, at once, along most of what is lit.
Night is black, too, but its light begins at a roof, a lamp or a window, which is no line, or slowly, or in another
place in the next frame; the straight line of a horizon has no second one across from it.
"""

from __future__ import annotations

import cv2
import numpy as np

BAR_LEVELS = 24  # black of limited range is 16, and what codecs leave of it lies a little above
LEAST_STEP, STEP_PART = (
    6,
    0.15,
)  # from a bar to what is lit: levels, and a part of the bright ones, near which codecs ring
BLACK_PART = 0.03  # of a bar's line, at most, is ever lit
EDGE_PART, LIT_PART = (
    0.4,
    0.6,
)  # of the frame's side, and of what is lit anywhere across it, is lit at the edge
EDGE_LINES = 0.025  # of the frame: scaling and codecs blur so much
STEADY_FRAMES = 0.75
SLOW_PART = 0.5  # of the step at the edge that may come once more behind it
DARK_LEVELS = 40  # the middle level of a picture with night in it


def picture_part(frames_nhwc: np.ndarray) -> float:
    """Gives the share of the frame that is picture, 0..1, over all uint8 RGB frames (n, h, w, 3) of a clip."""
    luma_nhw = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames_nhwc]).astype(np.int16)
    height, width = luma_nhw.shape[1:]
    step = max(LEAST_STEP, STEP_PART * float(np.quantile(luma_nhw, 0.95)))
    rows, columns = _both(luma_nhw, step), _both(luma_nhw.transpose(0, 2, 1), step)
    return (height - rows) / height * ((width - columns) / width)


def _both(luma_nlx: np.ndarray, step: float) -> int:
    """Counts the lines of the bars on both sides of frames (n, lines, across)."""
    sides = luma_nlx, luma_nlx[:, ::-1]
    black = [_black_lines(side, step) for side in sides]
    bars = [
        count if _ends_at_once(side, count, step) else 0 for side, count in zip(sides, black, strict=True)
    ]
    for this, other in ((0, 1), (1, 0)):
        # In a dark picture one of two bars may end where nothing is lit.
        if bars[this] and not bars[other] and black[other] >= bars[this]:
            bars[other] = bars[this]
    picture = luma_nlx[:, bars[0] : luma_nlx.shape[1] - bars[1]]
    if min(bars) == 0 and np.median(picture) < DARK_LEVELS:
        return 0
    return sum(bars)


def _black_lines(luma_nlx: np.ndarray, step: float) -> int:
    """Counts the lines, from the first on, that are black in all frames; none where all are."""
    level = float(np.median(luma_nlx[:, 0]))
    if level > BAR_LEVELS:
        return 0
    black = (luma_nlx > level + step).any(axis=0).mean(axis=1) <= BLACK_PART
    return 0 if black.all() else int(np.argmin(black))


def _ends_at_once(luma_nlx: np.ndarray, count: int, step: float) -> bool:
    """Tells whether so many black lines end in an edge that is straight, sharp and in the same place in all frames."""
    if count == 0:
        return False
    lines = luma_nlx.shape[1]
    width = max(4, round(EDGE_LINES * lines))
    outside_nx = luma_nlx[:, max(count - 3, 0)]
    at_edge = (luma_nlx[:, count : count + width].max(axis=1) - outside_nx > step).mean(axis=1)
    anywhere = (luma_nlx.max(axis=1) - outside_nx > step).mean(axis=1)
    shown = anywhere >= EDGE_PART
    straight = (at_edge >= EDGE_PART) & (at_edge >= LIT_PART * anywhere)
    if not shown.any() or straight[shown].mean() < STEADY_FRAMES:
        return False
    outside, inside, further = (
        float(luma_nlx[:, min(max(line, 0), lines - 1)].mean())
        for line in (count - 3, count + width - 1, count + 2 * width - 1)
    )
    return further - inside <= SLOW_PART * (inside - outside)
