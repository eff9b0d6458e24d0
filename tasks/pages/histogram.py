"""Counts values that come in batches and whose range nobody knows, exactly and in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

MAX_BINS = 4096
FINEST = -24  # bins begin 2**-24 wide
SHOWN_SHARE = 0.998  # what lies further out is counted in the outermost bars


class Histogram:
    """Counts by group in bins whose width is a power of two and doubles when the values need it.

    Since a bin is always two bins of half its width, counts are exact and do not depend on the order.
    """

    def __init__(self, groups: Sequence[str]) -> None:
        self.groups = tuple(groups)
        self.low = self.high = math.nan
        self.nulls = 0
        self._exponent = FINEST
        self._counts: dict[str, dict[int, int]] = {group: {} for group in groups}
        self._sum = 0.0

    def add(self, group: str, values: np.ndarray) -> None:
        """Counts float64 values; NaN stands for a value that is not there."""
        numbers = values[np.isfinite(values)]
        self.nulls += len(values) - len(numbers)
        if not len(numbers):
            return
        self.low = float(np.fmin(self.low, numbers.min()))
        self.high = float(np.fmax(self.high, numbers.max()))
        self._sum += float(numbers.sum())
        while not self._fits():
            self._coarsen()
        indices, counts = np.unique(np.floor(numbers / self.bin_width).astype(np.int64), return_counts=True)
        bins = self._counts[group]
        for index, count in zip(indices.tolist(), counts.tolist(), strict=True):
            bins[index] = bins.get(index, 0) + count

    @property
    def bin_width(self) -> float:
        """The width of a bin as it is now."""
        return 2.0**self._exponent

    @property
    def total(self) -> int:
        """The number of values counted."""
        return sum(self.count(group) for group in self.groups)

    @property
    def mean(self) -> float:
        """The mean of all values, NaN when there are none."""
        return self._sum / self.total if self.total else math.nan

    def count(self, group: str) -> int:
        """Returns the number of values counted in a group."""
        return sum(self._counts[group].values())

    def bins(self, group: str) -> dict[int, int]:
        """Returns counts by bin: bin i reaches from i to i + 1 times `bin_width`."""
        return dict(self._counts[group])

    def shown(self) -> tuple[float, float]:
        """Returns the span that holds all values but the outermost two in a thousand, to a bin."""
        merged: dict[int, int] = {}
        for bins in self._counts.values():
            for index, count in bins.items():
                merged[index] = merged.get(index, 0) + count
        indices = sorted(merged)
        shares = np.cumsum([merged[index] for index in indices]) / self.total
        beyond = (1 - SHOWN_SHARE) / 2
        first = int(np.searchsorted(shares, beyond, side="right"))
        last = int(np.searchsorted(shares, 1 - beyond, side="left"))
        return indices[first] * self.bin_width, (indices[min(last, len(indices) - 1)] + 1) * self.bin_width

    def stacks(self, low: float, bar_width: float, num_bars: int) -> list[list[int]]:
        """Returns counts by bar and group, the bars from `low` on; a bin belongs to the bar that holds its middle.

        The outermost bars hold what lies beyond them.
        """
        stacks = [[0] * len(self.groups) for _ in range(num_bars)]
        for place, group in enumerate(self.groups):
            for index, count in self._counts[group].items():
                middle = (index + 0.5) * self.bin_width
                stacks[min(max(int((middle - low) / bar_width), 0), num_bars - 1)][place] += count
        return stacks

    def _fits(self) -> bool:
        largest = max(abs(self.low), abs(self.high)) / self.bin_width
        return largest < 2**52 and (self.high - self.low) / self.bin_width < MAX_BINS - 1

    def _coarsen(self) -> None:
        self._exponent += 1
        for group, bins in self._counts.items():
            merged: dict[int, int] = {}
            for index, count in bins.items():
                merged[index >> 1] = merged.get(index >> 1, 0) + count
            self._counts[group] = merged
