"""Draws metrics with their intervals: over the versions, one below another, and as a difference.

All are as narrow as a phone, so that their text stays readable there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from matplotlib.axes import Axes

from tasks.pages.axes import DASHES, name_ticks, padded, short, tick_room, ticks, x_axis, y_axis
from tasks.pages.svg import Chart, Drawing, drawing
from tasks.pages.theme import LIGHT

WIDTH, RIGHT = 372, 14
TREND_HEIGHT = 230
MARGIN = 0.08  # of the values' span, on either side
LABELS = 8  # versions named below a trend, at most
ROW, NAME_W, AXIS_H = 36, 118, 38

Kind = Literal["champion", "plain", "before", "after", "better", "worse", "unsure"]
"""What a mark is, from which its colour follows; the name of its CSS class."""

_COLOURS: dict[Kind, str] = {
    "champion": "right",
    "plain": "plain",
    "before": "soft",
    "after": "ink",
    "better": "right",
    "worse": "wrong",
    "unsure": "plain",
}


@dataclass(frozen=True)
class Mark:
    """Holds a value with its interval (None: none was taken), what it is called and what kind of value it is."""

    label: str
    value: float
    low: float | None
    high: float | None
    kind: Kind
    hint: str = ""

    @property
    def is_finite(self) -> bool:
        """Says whether the value has a place on an axis."""
        return math.isfinite(self.value)

    @property
    def ends(self) -> tuple[float, float]:
        """Both ends of the interval, the value itself where there is none or it has no end."""
        low = self.value if self.low is None or not math.isfinite(self.low) else self.low
        high = self.value if self.high is None or not math.isfinite(self.high) else self.high
        return min(low, self.value), max(high, self.value)


def trend_chart(label: str, axis: str, marks: Sequence[Mark], level: float | None = None) -> Chart:
    """Draws marks from left to right, evenly spaced, with a dashed line at `level` (what the real clips give)."""
    low, high = _span(marks, [] if level is None else [level])
    named = ticks(low, high, 5)
    with drawing(WIDTH, TREND_HEIGHT, label) as canvas:
        axes = canvas.axes(tick_room(named[1]), RIGHT, 26, 40)
        y_axis(axes, (low, high), named, axis)
        axes.set_xlim(-0.5, len(marks) - 0.5)
        every = -(-len(marks) // LABELS)
        # From the right: the newest is always named.
        shown = range(len(marks) - 1, -1, -every)
        name_ticks(axes.xaxis, shown, [marks[place].label for place in shown])
        axes.set_xlabel("version", labelpad=3)
        if level is not None:
            line = axes.axhline(level, color=LIGHT["ink"], linewidth=1.4, linestyle=DASHES)
            canvas.note(line, "threshold")
        drawn = [mark.value if mark.is_finite else math.nan for mark in marks]
        axes.plot(drawn, color=LIGHT["right"], alpha=0.3, linewidth=1)
        for place, mark in enumerate(marks):
            if mark.is_finite:
                axes.plot([place, place], mark.ends, color=LIGHT["plain"], linewidth=2.4)
                _dot(canvas, axes, place, mark.value, mark)
        return canvas.finish()


def values_chart(label: str, axis: str, marks: Sequence[Mark]) -> Chart:
    """Draws each mark on a row of its own, all on one scale, the value printed below its name."""
    return _rows_chart(label, axis, marks, _span(marks))


def difference_chart(label: str, axis: str, mark: Mark) -> Chart:
    """Draws one difference and its interval against zero."""
    return _rows_chart(label, axis, [mark], _span([mark], [0.0]), with_zero=True)


def _rows_chart(
    label: str, axis: str, marks: Sequence[Mark], span: tuple[float, float], with_zero: bool = False
) -> Chart:
    with drawing(WIDTH, ROW * len(marks) + AXIS_H, label) as canvas:
        axes = canvas.axes(NAME_W, RIGHT, 2, AXIS_H)
        x_axis(axes, *span, 4, axis)
        axes.set_ylim(len(marks) - 0.5, -0.5)
        axes.set_yticks([])
        if with_zero:
            axes.axvline(0, color=LIGHT["ink"], linewidth=1.2)
        for row, mark in enumerate(marks):
            for words, shift, weight in ((mark.label, 7, "normal"), (short(mark.value), -8, "bold")):
                axes.annotate(
                    words, (0, row), (-NAME_W, shift), axes.get_yaxis_transform(), "offset points",
                    va="center", weight=weight, annotation_clip=False,
                )  # fmt: skip
            if mark.is_finite:
                colour = LIGHT[_COLOURS[mark.kind]]
                (whisker,) = axes.plot(mark.ends, [row, row], color=colour, linewidth=2.4)
                canvas.note(whisker, f"whisker {mark.kind}")
                _dot(canvas, axes, mark.value, row, mark)
        return canvas.finish()


def _dot(canvas: Drawing, axes: Axes, x: float, y: float, mark: Mark) -> None:
    size = 10 if mark.kind == "champion" else 8
    (dot,) = axes.plot(
        x, y, "o", color=LIGHT[_COLOURS[mark.kind]], markeredgecolor=LIGHT["paper"], markersize=size
    )
    canvas.note(dot, f"dot {mark.kind}", mark.hint)


def _span(marks: Sequence[Mark], others: Sequence[float] = ()) -> tuple[float, float]:
    """Returns the range that holds all marks that have a place, and some other values."""
    ends = [end for mark in marks if mark.is_finite for end in mark.ends]
    return padded([*ends, *others] or [0.0], MARGIN)
