"""Draws the charts of a run's report and of a dataset's: histograms, losses by step, and bars."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from tasks.pages.axes import DASHES, name_ticks, padded, short, tick_room, ticks, x_axis, y_axis
from tasks.pages.histogram import Histogram
from tasks.pages.svg import Chart, Drawing, drawing
from tasks.pages.theme import LIGHT

WIDTH = 640
HISTOGRAM_WIDTH, HISTOGRAM_HEIGHT = 372, 214
BARS = 48
HEADER, LABEL_RISE = 44, 26  # above a histogram: what is counted, and below that the thresholds
REACH = 0.6  # a threshold that far beyond the values, in parts of their span, still widens the chart


def score_histogram(
    right: Sequence[float], wrong: Sequence[float], threshold: float, num_bins: int = 36
) -> Chart:
    """Draws scores of right captions upwards, of wrong ones downwards; left of the threshold is rejected."""
    low, high = padded([*right, *wrong, threshold], 0.03)
    edges = np.linspace(low, high, num_bins + 1)
    counts_up, counts_down = np.histogram(right, edges)[0], np.histogram(wrong, edges)[0]
    # One scale for both: a bar of twice the captions is twice as long, whichever way it points.
    up, down = max(1, int(counts_up.max())), max(1, int(counts_down.max()))
    named = [-down, 0, up], [str(down), "0", str(up)]
    label = "Histogram of CLIP scores, right captions above, wrong captions below"
    with drawing(WIDTH, 330, label) as canvas:
        axes = canvas.axes(tick_room(named[1]), 12, HEADER, 40)
        x_axis(axes, low, high, 7, "CLIP score of caption and frames, cosine")
        told = "captions: right ones upwards, wrong ones downwards"
        y_axis(axes, (-1.06 * down, 1.06 * up), named, told, LABEL_RISE)
        axes.axvspan(low, threshold, color=LIGHT["wrong"], alpha=0.08, linewidth=0)
        _bars(canvas, axes, edges, counts_up, 1, "right")
        _bars(canvas, axes, edges, counts_down, -1, "wrong")
        axes.axhline(0, color=LIGHT["soft"], linewidth=1)
        _threshold(canvas, axes, threshold, f"threshold {short(threshold)}", to_left=False)
        return canvas.finish()


def _bars(
    canvas: Drawing, axes: Axes, edges: np.ndarray, counts: np.ndarray, direction: int, name: str
) -> None:
    for count, left, right in zip(counts, edges[:-1], edges[1:], strict=True):
        if count:
            gap = 0.05 * (right - left)
            bar = Rectangle((left + gap, 0), right - left - 2 * gap, direction * count, fc=LIGHT[name])
            axes.add_patch(bar)
            canvas.note(bar, f"bar-{name}", f"{count} {name}, {short(left)} to {short(right)}")


def _threshold(canvas: Drawing, axes: Axes, value: float, words: str, to_left: bool) -> None:
    """Draws a dashed line with its value at its upper end, on the side where there is room for it."""
    low, high = axes.get_xlim()
    line = axes.axvline(value, 0, 1.08, clip_on=False, color=LIGHT["ink"], linewidth=1.4, linestyle=DASHES)
    canvas.note(line, "threshold")
    to_left = to_left or (value - low) / (high - low) > 0.72
    axes.annotate(
        words,
        (value, 1),
        (-4 if to_left else 4, 9),
        axes.get_xaxis_transform(),
        "offset points",
        ha="right" if to_left else "left",
        va="center",
    )


def stacked_histogram(
    histogram: Histogram, label: str, axis: str, thresholds: Sequence[float], least: float | None = None
) -> Chart:
    """Draws the groups on top of each other, the first one lowest; `least` is a bound no value goes below.

    `axis` is what was measured, with its unit.
    """
    low, high, near = _range_of(histogram, thresholds, least)
    stacks = histogram.stacks(low, (high - low) / BARS, BARS)
    tallest = max(sum(stack) for stack in stacks)
    named = [0, tallest], ["0", _short_count(tallest)]
    with drawing(HISTOGRAM_WIDTH, HISTOGRAM_HEIGHT, label) as canvas:
        axes = canvas.axes(tick_room(named[1]), 12, HEADER, 40)
        x_axis(axes, low, high, 5, axis)
        y_axis(axes, (0, tallest), named, "clips", LABEL_RISE)
        for number, stack in enumerate(stacks):
            _stack(canvas, axes, histogram, number, stack, tallest)
        for number, value in enumerate(sorted(near)):
            # The left one of two is written to its left.
            share = (value - low) / (high - low)
            _threshold(canvas, axes, value, short(value), number == 0 and len(near) > 1 and share > 0.25)
        return canvas.finish()


def _range_of(
    histogram: Histogram, thresholds: Sequence[float], least: float | None
) -> tuple[float, float, list[float]]:
    """Returns what the chart reaches from and to, and the thresholds that lie in it."""
    # A single value has no span, however wide its bin is.
    low, high = histogram.shown() if histogram.low < histogram.high else (histogram.low, histogram.low)
    span = max(high - low, 0.1 * max(abs(low), abs(high)))
    near = [value for value in thresholds if low - REACH * span <= value <= high + REACH * span]
    low, high = min([low, *near]), max([high, *near])
    # A tenth on either side of a single value reads well.
    pad = 0.04 * (high - low) or 0.1 * abs(high) or 0.1
    # Where values may not be negative, a margin left of zero would say that they are.
    low, high = low - pad if least is None else max(low - pad, min(least, low)), high + pad
    return low, high, near


def _stack(
    canvas: Drawing, axes: Axes, histogram: Histogram, number: int, stack: Sequence[int], tallest: int
) -> None:
    low, high = axes.get_xlim()
    width = (high - low) / BARS
    left, below = low + number * width, 0.0
    for group, count in zip(histogram.groups, stack, strict=True):
        if count:
            # A single clip among millions is still to be seen.
            height = max(count, tallest / 120)
            colour = LIGHT["right" if group == histogram.groups[0] else "wrong"]
            bar = Rectangle((left + 0.05 * width, below), 0.9 * width, height, fc=colour)
            axes.add_patch(bar)
            canvas.note(bar, f"bar-{group}", f"{count:,} {group}, {short(left)} to {short(left + width)}")
            below += height


def loss_chart(points: Sequence[tuple[int, float | None]]) -> Chart:
    """Draws a loss by step: the steps as they are, faint, and their mean over a twentieth of the run.

    Steps without a finite loss are gaps in the faint curve, and marked below it.
    """
    known = [(step, loss) for step, loss in points if loss is not None and math.isfinite(loss)]
    if not known:
        return _only_words("No step had a finite loss")
    smooth = _smoothed(known)
    low, high = _loss_range([loss for _, loss in known], max(loss for _, loss in smooth))
    named = ticks(low, high, 6)
    with drawing(WIDTH, 250, "Training loss by step") as canvas:
        axes = canvas.axes(tick_room(named[1]), 12, 26, 40)
        x_axis(axes, points[0][0], max(points[-1][0], points[0][0] + 1), 7, "step", whole=True)
        y_axis(axes, (low, high), named, "loss")
        _raw_curve(canvas, axes, points, high)
        (curve,) = axes.plot(*zip(*smooth, strict=True), color=LIGHT["right"], linewidth=2.2)
        canvas.note(curve, "curve-smooth")
        for step in sorted({step for step, _ in points} - {step for step, _ in known}):
            (dot,) = axes.plot(step, low, "o", color=LIGHT["wrong"], markersize=6)
            canvas.note(dot, "not-finite", f"step {step}: not finite")
        return canvas.finish()


def _raw_curve(canvas: Drawing, axes: Axes, points: Sequence[tuple[int, float | None]], high: float) -> None:
    """Draws the losses as they are, with gaps; one that stands alone between two gaps is a dot."""
    steps = np.array([step for step, _ in points], np.float64)
    losses = np.array([math.nan if loss is None else loss for _, loss in points], np.float64)
    losses[~np.isfinite(losses)] = math.nan
    losses = np.minimum(losses, high)
    (curve,) = axes.plot(steps, losses, color=LIGHT["right"], alpha=0.3, linewidth=1)
    canvas.note(curve, "curve-raw")
    gaps = np.isnan(np.concatenate([[math.nan], losses, [math.nan]]))
    alone = ~gaps[1:-1] & gaps[:-2] & gaps[2:]
    if alone.any():
        (dots,) = axes.plot(steps[alone], losses[alone], "o", color=LIGHT["right"], alpha=0.3, markersize=3)
        canvas.note(dots, "alone")


def _loss_range(losses: Sequence[float], largest_mean: float) -> tuple[float, float]:
    """Returns the range of the axis, without the largest hundredth of the losses."""
    ordered = sorted(losses)
    low, high = ordered[0], max(ordered[int(0.99 * (len(ordered) - 1))], largest_mean)
    # The least floats have no twentieth part, which the margins and the ticks need.
    span = max((high - low) or abs(high) or 1.0, 1e-300)
    return max(0.0, low - 0.05 * span), high + 0.05 * span


def _only_words(words: str) -> Chart:
    with drawing(WIDTH, 40, words) as canvas:
        axes = canvas.axes(0, 0, 0, 0)
        axes.set_axis_off()
        axes.text(0, 0.5, words, va="center")
        return canvas.finish()


def _smoothed(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Takes the mean over a twentieth of the run around each step."""
    reach = len(points) // 40
    smooth = []
    for i, (step, _) in enumerate(points):
        # The window shrinks at both ends, so that it stays centred.
        side = min(reach, i, len(points) - 1 - i)
        window = [loss for _, loss in points[i - side : i + side + 1]]
        smooth.append((step, sum(loss / len(window) for loss in window)))
    return smooth


def bar_chart(
    rows: Sequence[tuple[str, float, str]], axis: str, highlight: str | None = None, is_good: bool = True
) -> Chart:
    """Draws horizontal bars from (name, value, printed value); `axis` is what they measure.

    The highlighted one has the accent colour, or that of what is wrong where it is not good. A value that is not finite
    is written without a bar.
    """
    names = [name for name, _, _ in rows]
    largest = max((value for _, value, _ in rows if math.isfinite(value)), default=0) or 1.0
    with drawing(WIDTH, 28 * len(rows) + 40, f"{axis}, bars: {', '.join(names)}") as canvas:
        axes = canvas.axes(150, 96, 4, 36)
        x_axis(axes, 0, largest, 5, axis)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        name_ticks(axes.yaxis, range(len(rows)), names, "ink")
        for place, (name, value, printed) in enumerate(rows):
            kind, colour = "bar-plain", "plain"
            if name == highlight:
                kind, colour = ("bar-accent", "right") if is_good else ("bar-worse", "wrong")
            length = max(value, largest / 250) if math.isfinite(value) else 0.0
            if length:
                (bar,) = axes.barh(place, length, 0.58, color=LIGHT[colour])
                canvas.note(bar, kind)
            axes.annotate(printed, (length, place), (8, 0), "data", "offset points", va="center")
        return canvas.finish()


def _short_count(number: int) -> str:
    """Writes a count in four characters or so."""
    for unit, factor in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if number >= 10 * factor:
            return f"{number / factor:.0f}{unit}"
    return f"{number:,}"
