"""Histograms of values that come in batches and whose range nobody knows: exact counts in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from markupsafe import Markup

from tasks.pages.svg import line, short, svg, text, ticks

MAX_BINS = 4096
FINEST = -24  # bins begin 2**-24 wide
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 372, 190, 40, 10, 24, 22
BARS = 48
SHOWN_SHARE = 0.998  # what lies further out is counted in the outermost bars
REACH = 0.6  # a threshold that far beyond the values, in parts of their span, still widens the chart


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
        """How wide a bin is now."""
        return 2.0**self._exponent

    @property
    def total(self) -> int:
        """Values counted."""
        return sum(self.count(group) for group in self.groups)

    @property
    def mean(self) -> float:
        """The mean of all values, NaN when there are none."""
        return self._sum / self.total if self.total else math.nan

    def count(self, group: str) -> int:
        """Values counted in a group."""
        return sum(self._counts[group].values())

    def bins(self, group: str) -> dict[int, int]:
        """Counts by bin: bin i reaches from i to i + 1 times `bin_width`."""
        return dict(self._counts[group])

    def shown(self) -> tuple[float, float]:
        """The span that holds all values but the outermost two in a thousand, to a bin."""
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


def stacked_histogram(
    histogram: Histogram, label: str, thresholds: Sequence[float], least: float | None = None
) -> Markup:
    """Draws the groups on top of each other, the first one lowest; `least` is a bound no value goes below."""
    low, high = histogram.shown()
    span = max(high - low, 0.1 * max(abs(low), abs(high)))
    near = [value for value in thresholds if low - REACH * span <= value <= high + REACH * span]
    low, high = min([low, *near]), max([high, *near])
    # Where all values are zero there is no scale to take: a tenth on either side reads well.
    pad = 0.04 * max(high - low, 0.02 * max(abs(low), abs(high))) or 0.1
    # Where values may not be negative, a margin left of zero would say that they are.
    low, high = low - pad if least is None else max(low - pad, min(least, low)), high + pad
    bar_w = (high - low) / BARS
    stacks = _stacks(histogram, low, bar_w)
    tallest = max(sum(stack) for stack in stacks)

    def x_of(value: float) -> float:
        return LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    bottom = HEIGHT - BOTTOM
    parts = []
    for number, stack in enumerate(stacks):
        y = float(bottom)
        span_text = f"{short(low + number * bar_w)} to {short(low + (number + 1) * bar_w)}"
        for group, count in zip(histogram.groups, stack, strict=True):
            if count:
                # A single clip among millions is still to be seen.
                h = max(count / tallest * (bottom - TOP), 1.0)
                y -= h
                x, w = x_of(low + number * bar_w) + 0.4, (WIDTH - LEFT - RIGHT) / BARS - 0.8
                parts.append(
                    f'<rect class="bar-{group}" x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}">'
                    f"<title>{count:,} {group}, {span_text}</title></rect>"
                )
    parts.append(line(LEFT, bottom, WIDTH - RIGHT, bottom, "axis"))
    parts += [
        text(x_of(tick), HEIGHT - 6, short(tick), "tick", "middle") for tick in _inner_ticks(low, high, x_of)
    ]
    parts.append(text(LEFT - 5, TOP + 4, _count(tallest), "tick", "end"))
    parts.append(text(LEFT - 5, bottom, "0", "tick", "end"))
    parts += _threshold_lines(near, x_of, bottom)
    return svg(WIDTH, HEIGHT, label, parts)


def _stacks(histogram: Histogram, low: float, bar_w: float) -> list[list[int]]:
    """Counts by bar and group; a bin belongs to the bar that holds its middle."""
    stacks = [[0] * len(histogram.groups) for _ in range(BARS)]
    for place, group in enumerate(histogram.groups):
        for index, count in histogram.bins(group).items():
            middle = (index + 0.5) * histogram.bin_width
            stacks[min(max(int((middle - low) / bar_w), 0), BARS - 1)][place] += count
    return stacks


def _inner_ticks(low: float, high: float, x_of: Callable[[float], float]) -> list[float]:
    return [tick for tick in ticks(low, high, 5) if LEFT - 1 <= x_of(tick) <= WIDTH - RIGHT - 8]


def _threshold_lines(values: Sequence[float], x_of: Callable[[float], float], bottom: float) -> list[str]:
    """Dashed lines with their values above; the left one of two is written to its left."""
    parts = []
    for number, value in enumerate(sorted(values)):
        x = x_of(value)
        parts.append(line(x, TOP - 8, x, bottom, "threshold"))
        to_left = x > WIDTH * 0.75 or (number == 0 and len(values) > 1 and x > WIDTH * 0.25)
        anchor, shift = ("end", -4) if to_left else ("start", 4)
        parts.append(text(x + shift, TOP - 8, short(value), "label", anchor))
    return parts


def _count(number: int) -> str:
    """A count in four characters or so."""
    for unit, factor in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if number >= 10 * factor:
            return f"{number / factor:.0f}{unit}"
    return f"{number:,}"
