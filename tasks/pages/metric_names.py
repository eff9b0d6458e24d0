"""Names the metrics of an evaluation as a page shows them, in the order in which they stand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from tasks.evaluation.directions import DIRECTIONS

REFERENCE = "_reference"
"""Ends the name of a metric that was taken on the real clips."""

OF_LONG_VIDEOS = ("cycling", "seam_boundary", "seam_guided_to_free")
"""Those that need a video of several clips, which not all videos of an evaluation are."""

_TITLES = {
    "fvd": "FVD",
    "kvd": "KVD",
    "is": "IS",
    "is_i3d": "IS over I3D",
    "text_score": "text score",
    "text_contrast": "text contrast",
    "seconds_per_frame": "seconds per frame",
    "first_frames_s": "time to the first frames, s",
    "peak_mib": "peak memory, MiB",
}


def title(name: str) -> str:
    """Returns the name as a person reads it; names that are not known lose their underscores."""
    return _TITLES.get(name, name.replace("_", " "))


def direction(name: str) -> Literal["lower", "higher"] | None:
    """Says which way is better, None where neither is, or where it is not known."""
    found = DIRECTIONS.get(name, "neither")
    return None if found == "neither" else found


def column_order(names: Iterable[str]) -> list[str]:
    """Puts distances and scores first, then all others by name."""
    known = list(_TITLES)
    return sorted(names, key=lambda name: (known.index(name) if name in known else len(known), name))
