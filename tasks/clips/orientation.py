"""How a decoded picture is shown: turned by quarters and mirrored, as the display matrix of its file says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from av.video.frame import VideoFrame

MATRIX_BYTES = 9 * 4


@dataclass(frozen=True)
class Orientation:
    """One of the eight ways to lay a picture: its axes swapped first, then its rows and its columns turned round."""

    swapped: bool = False
    rows_reversed: bool = False
    columns_reversed: bool = False

    def upright(self, frame_hwc: np.ndarray) -> np.ndarray:
        """Gives a coded frame (h, w, 3) as a viewer shows it, contiguous; the frame itself where nothing changes."""
        if self == UPRIGHT:
            return frame_hwc
        shown = frame_hwc.swapaxes(0, 1) if self.swapped else frame_hwc
        shown = shown[::-1] if self.rows_reversed else shown
        shown = shown[:, ::-1] if self.columns_reversed else shown
        return np.ascontiguousarray(shown)


UPRIGHT = Orientation()


def orientation_of(frame: VideoFrame) -> Orientation:
    """Gives the orientation that the frame's display matrix asks for, to the nearest quarter turn."""
    side_data: Any = frame.side_data.get("DISPLAYMATRIX")  # PyAV's annotations know no type of it
    if side_data is None or side_data.buffer_size < MATRIX_BYTES:
        return UPRIGHT
    matrix = np.frombuffer(side_data, np.int32, 9).astype(float).reshape(3, 3)
    # The point (x, y) of the coded picture is shown at (x, y) times these four, and somewhere else that says nothing.
    (x_to_x, x_to_y), (y_to_x, y_to_y) = matrix[:2, :2].tolist()
    if x_to_x * y_to_y == x_to_y * y_to_x:
        return UPRIGHT  # a broken matrix, which shows no picture at all
    if abs(x_to_y) + abs(y_to_x) > abs(x_to_x) + abs(y_to_y):
        return Orientation(True, rows_reversed=x_to_y < 0, columns_reversed=y_to_x < 0)
    return Orientation(False, rows_reversed=y_to_y < 0, columns_reversed=x_to_x < 0)
