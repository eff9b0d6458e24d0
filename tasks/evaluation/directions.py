"""Which way of each metric is better: the one table that the gate, the pages and the reports read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Direction = Literal["lower", "higher", "neither"]

DIRECTIONS: Mapping[str, Direction] = {
    "fvd": "lower",
    "kvd": "lower",
    "is": "higher",
    "is_i3d": "higher",
    "text_score": "higher",
    "text_contrast": "higher",
    "frame_consistency": "neither",
    "pixel_consistency": "neither",
    "motion": "neither",
    "frozen": "lower",
    "cycling": "lower",
    "seam_boundary": "lower",
    "seam_guided_to_free": "lower",
}
