"""Finds the clips whose measure lies nearest to a threshold, on either side of it, and shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from storage.dataset.clip_dataset import ClipDataset
from storage.dataset.columns import CLIP_ID
from storage.dataset.table_reader import ROW
from tasks.pages.dataset_samples import thumbnail_of
from tasks.pages.dataset_signals import MEASURES, Measure
from tasks.pages.thumbnails import Thumbnail

SHOWN = 5  # on either side

_Found = tuple[float, str, str, int]
"""How far a value is from the threshold, the clip's id, its table and row."""


@dataclass
class NearThreshold:
    """Collects the clips nearest to one threshold; `passing` are those that it lets pass."""

    measure: Measure
    setting: str
    value: float
    passing: list[_Found] = field(default_factory=list)
    failing: list[_Found] = field(default_factory=list)

    @property
    def is_least(self) -> bool:
        """Whether values have to reach it, rather than not to exceed it."""
        return not self.setting.startswith("max_")

    def take(self, table: str, batch: pa.Table) -> None:
        """Looks at the rows of a batch."""
        values = self.measure.row_values(batch)
        distances = np.abs(values - self.value)
        passes = values >= self.value if self.is_least else values <= self.value
        ids, rows = batch[CLIP_ID], batch[ROW]
        for chosen, found in ((passes, self.passing), (~passes & ~np.isnan(values), self.failing)):
            (numbers,) = np.nonzero(chosen)
            nearest = numbers[np.argsort(distances[numbers], kind="stable")[: 4 * SHOWN]]
            found += [
                (float(distances[n]), ids[int(n)].as_py(), table, rows[int(n)].as_py()) for n in nearest
            ]
            found.sort()
            del found[SHOWN:]


@dataclass(frozen=True)
class ShownThreshold:
    """The clips just below and just above a threshold, nearest first, each with its value."""

    setting: str
    value: float
    measure: Measure
    is_least: bool
    below: Sequence[Thumbnail]
    above: Sequence[Thumbnail]


def near_thresholds(settings: Mapping[str, Any]) -> list[NearThreshold]:
    """Gives a collector for every threshold that is on."""
    return [
        NearThreshold(measure, name, value)
        for measure in MEASURES
        for name, value in measure.thresholds(settings).items()
    ]


def show_thresholds(dataset: ClipDataset, near: Sequence[NearThreshold]) -> list[ShownThreshold]:
    """Reads and decodes the clips that were found, one at a time."""
    shown = []
    for one in near:
        passing = [_thumbnail(dataset, one, found, 1 if one.is_least else -1) for found in one.passing]
        failing = [_thumbnail(dataset, one, found, -1 if one.is_least else 1) for found in one.failing]
        below, above = (failing, passing) if one.is_least else (passing, failing)
        shown.append(ShownThreshold(one.setting, one.value, one.measure, one.is_least, below, above))
    return shown


def _thumbnail(dataset: ClipDataset, near: NearThreshold, found: _Found, sign: int) -> Thumbnail:
    distance, _, table, row = found
    state = "kept" if table == "clips" else "rejected"
    return thumbnail_of(dataset, table, row, f"{near.value + sign * distance:.4g} \u00b7 {state}")
