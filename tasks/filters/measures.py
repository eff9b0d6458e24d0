"""What filters ask of networks: measured once, where a clip is decoded, and kept in columns beside a digest.

A measure is made only where its filter is on (at 1 it rejects nothing and measures all the same), so rows may lack it
or have it from another network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from storage.dataset.columns import HELD_TEXT_AREA, NUDITY, NUDITY_MODEL, TEXT_AREA, TEXT_FINDER
from tasks.filters.nudity import load_detector, nudity, nudity_digest
from tasks.filters.settings import FilterSettings, NuditySettings
from tasks.filters.text_in_frames import load_text_finder, text_areas, text_finder_digest


class Measure(Protocol):
    """A measure of a clip's frames; a row keeps its digest beside it."""

    @property
    def name(self) -> str:
        """A word for it."""

    @property
    def digest_column(self) -> str:
        """The column of a row's digest."""

    @property
    def digest(self) -> str:
        """What identifies the network."""

    def load(self) -> None:
        """Loads the network in this process; RequestError when it is none."""

    def of(self, frames_nhwc: np.ndarray) -> dict[str, Any]:
        """Gives the columns of uint8 RGB frames (n, h, w, 3), without that of the digest."""


@dataclass(frozen=True)
class TextMeasure:
    """Measures the share of the frame under text boxes."""

    digest: str
    name: str = "text"
    digest_column: str = TEXT_FINDER

    def load(self) -> None:
        """Loads the network in this process; RequestError when it is none."""
        load_text_finder()

    def of(self, frames_nhwc: np.ndarray) -> dict[str, Any]:
        """Gives the two shares."""
        areas = text_areas(frames_nhwc)
        return {TEXT_AREA: areas.shown, HELD_TEXT_AREA: areas.held}


@dataclass(frozen=True)
class NudityMeasure:
    """Measures nudity by the detector that the user named."""

    settings: NuditySettings
    digest: str
    name: str = "nudity"
    digest_column: str = NUDITY_MODEL

    def load(self) -> None:
        """Loads the detector in this process; RequestError when it is none."""
        load_detector(self.settings)

    def of(self, frames_nhwc: np.ndarray) -> dict[str, Any]:
        """Gives the score."""
        return {NUDITY: nudity(frames_nhwc, self.settings)}


Measures = tuple[Measure, ...]


@lru_cache(maxsize=8)
def wanted_measures(settings: FilterSettings, detector: NuditySettings) -> Measures:
    """Gives the measures whose filters are on; RequestError when what they need is not there. No network is loaded."""
    wanted: list[Measure] = []
    if settings.max_text_area is not None or settings.max_held_text_area is not None:
        wanted.append(TextMeasure(text_finder_digest()))
    if settings.max_nudity is not None:
        wanted.append(NudityMeasure(detector, nudity_digest(detector)))
    return tuple(wanted)


def measured(frames_nhwc: np.ndarray, measures: Sequence[Measure]) -> dict[str, Any]:
    """Gives the columns of these measures, their digests among them."""
    columns: dict[str, Any] = {}
    for measure in measures:
        columns |= measure.of(frames_nhwc) | {measure.digest_column: measure.digest}
    return columns


def unmeasured(row: Mapping[str, Any], measures: Sequence[Measure]) -> Measures:
    """Gives those of the measures that a row lacks, or has from another network."""
    return tuple(measure for measure in measures if row[measure.digest_column] != measure.digest)
