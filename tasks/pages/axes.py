"""Sets up the axes of a chart: ranges, ticks that can be told apart, labels with units."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import MaxNLocator

from tasks.pages.svg import words
from tasks.pages.theme import LIGHT

DASHES = (0, (3, 2))
DIGIT_PX = 7.4  # the width of a digit in a chart's text, with room to spare


def short(value: float) -> str:
    """Writes a number in four digits at most."""
    return f"{value:.4g}"


def ticks(low: float, high: float, about: int, whole: bool = False) -> tuple[list[float], list[str]]:
    """Finds round numbers (whole ones, where asked) inside [low, high], and what is written at them."""
    found = MaxNLocator(about, steps=[1, 2, 2.5, 5, 10], integer=whole).tick_values(low, high)
    slack = 1e-9 * (high - low)  # 0.3 is three tenths, also where they add up to a little more
    at = [float(tick) for tick in found if low - slack <= tick <= high + slack]
    # As many digits as it takes to tell them apart.
    for digits in range(4, 18):
        names = [f"{tick:.{digits}g}" for tick in at]
        if len(set(names)) == len(at):
            break
    return at, names


def padded(values: Sequence[float], share: float) -> tuple[float, float]:
    """Returns the span of the values with a margin of that share of it, never empty."""
    low, high = min(values), max(values)
    pad = share * (high - low) or 0.05 * abs(high) or 0.1
    return low - pad, high + pad


def x_axis(axes: Axes, low: float, high: float, about: int, label: str, whole: bool = False) -> None:
    """Sets the range, its ticks and what is measured along it."""
    axes.set_xlim(low, high)
    name_ticks(axes.xaxis, *ticks(low, high, about, whole))
    axes.set_xlabel(label, labelpad=3)


def y_axis(
    axes: Axes,
    span: tuple[float, float],
    named: tuple[Sequence[float], Sequence[str]],
    label: str,
    rise: float = 8,
) -> None:
    """Sets the range and its ticks, with a line across the plot at each; the label stands `rise` above them."""
    axes.set_ylim(*span)
    name_ticks(axes.yaxis, *named)
    axes.grid(axis="y")
    at = (0, 1), (-6, rise), "axes fraction", "offset points"
    axes.annotate(label, *at, color=LIGHT["soft"], annotation_clip=False)


def name_ticks(axis: Axis, at: Sequence[float], names: Sequence[str], colour: str = "soft") -> None:
    """Sets the ticks of an axis; its texts are made again when it is drawn, so their words are made safe here."""
    axis.set_ticks(at, [words(name) for name in names])
    axis.set_tick_params(labelcolor=LIGHT[colour])


def tick_room(names: Sequence[str]) -> float:
    """Returns the margin that the labels of a vertical axis take."""
    return 10 + DIGIT_PX * max((len(name) for name in names), default=0)
