"""Black bars: how much of a frame is picture, between bars above and below (letterbox) or beside it (pillarbox)."""

from __future__ import annotations

import cv2
import numpy as np

BAR_LEVELS = 24  # black of limited range is 16, and what codecs leave of it lies a little above
BAR_SPREAD = 6  # within a line of a bar: a dark scene has grain and slow light
EDGE_LEVELS, EDGE_PART = 10, 0.1  # a bar ends at once, along a part of its line; shade does not
BLURRED_LINES = 3  # by scaling and codecs
_OUTLIERS = 0.02


def picture_part(frames_nhwc: np.ndarray) -> float:
    """Gives the share of the frame that is picture, 0..1, the median over uint8 RGB frames (n, h, w, 3)."""
    return float(
        np.median([_part(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.int16)) for frame in frames_nhwc])
    )


def _part(luma_hw: np.ndarray) -> float:
    top, left = _bar(luma_hw), _bar(luma_hw.T)
    bottom, right = _bar(luma_hw[::-1]), _bar(luma_hw.T[::-1])
    height, width = luma_hw.shape
    return (height - top - bottom) / height * ((width - left - right) / width)


def _bar(lines: np.ndarray) -> int:
    """Counts the lines, from the first on, that are a bar; none where all are, or where it has no edge."""
    low, high = np.quantile(lines, (_OUTLIERS, 1 - _OUTLIERS), axis=1)
    black = (high <= BAR_LEVELS) & (high - low <= BAR_SPREAD)
    if black.all() or not black[0]:
        return 0
    count = int(np.argmin(black))
    # The line at the edge may be half bar: the one behind it shows what begins there.
    behind = lines[min(count + 1, len(lines) - 1)]
    edge = behind - np.median(lines[max(count - BLURRED_LINES, 0)]) > EDGE_LEVELS
    return count if edge.mean() >= EDGE_PART else 0
