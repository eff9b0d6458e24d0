"""Charts of figures with their intervals: one figure over the versions, two versions beside each other, a difference.

All are as narrow as a phone, so that their text stays readable there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from tasks.pages.svg import line, short, svg, text, ticks

WIDTH, LEFT, RIGHT = 372, 46, 14
TREND_HEIGHT, TOP, BOTTOM = 210, 16, 36
LABELS = 8  # versions named below a trend, at most
ROW, NAME_W = 34, 112


@dataclass(frozen=True)
class Mark:
    """A value with its interval (None: none was taken), what it is called, and the CSS class of its dot."""

    label: str
    value: float
    low: float | None
    high: float | None
    css: str
    hint: str = ""

    @property
    def ends(self) -> tuple[float, float]:
        """Both ends of the interval, the value itself where there is none."""
        return (
            self.value if self.low is None else min(self.low, self.value),
            self.value if self.high is None else max(self.high, self.value),
        )


def trend_chart(label: str, marks: Sequence[Mark], level: float | None = None) -> Markup:
    """Draws marks from left to right, evenly spaced, with a dashed line at `level` (what the real clips give)."""
    low, high = _range([end for mark in marks for end in mark.ends] + ([] if level is None else [level]))
    plot_bottom = TREND_HEIGHT - BOTTOM
    step = (WIDTH - LEFT - RIGHT) / len(marks)

    def y_of(value: float) -> float:
        return TOP + (high - value) / (high - low) * (plot_bottom - TOP)

    parts = []
    for tick in ticks(low, high, 4):
        parts.append(line(LEFT, y_of(tick), WIDTH - RIGHT, y_of(tick), "grid"))
        parts.append(text(LEFT - 6, y_of(tick) + 4, short(tick), "tick", "end"))
    if level is not None:
        parts.append(line(LEFT, y_of(level), WIDTH - RIGHT, y_of(level), "threshold"))
    xs = [LEFT + (place + 0.5) * step for place in range(len(marks))]
    path = " ".join(f"{x:.1f},{y_of(mark.value):.1f}" for x, mark in zip(xs, marks, strict=True))
    parts.append(f'<polyline class="curve-raw" points="{path}"/>')
    every = -(-len(marks) // LABELS)
    for place, (x, mark) in enumerate(zip(xs, marks, strict=True)):
        bottom, top = (y_of(end) for end in mark.ends)
        parts.append(line(x, bottom, x, top, "whisker"))
        parts.append(_dot(x, y_of(mark.value), mark))
        # From the right: the newest is always named.
        if (len(marks) - 1 - place) % every == 0:
            parts.append(text(x, plot_bottom + 17, mark.label, "tick", "middle"))
    return svg(WIDTH, TREND_HEIGHT, label, parts)


def values_chart(label: str, marks: Sequence[Mark]) -> Markup:
    """Draws each mark on a row of its own, all on one scale, the value printed beside its name."""
    low, high = _range([end for mark in marks for end in mark.ends])
    height = ROW * len(marks) + 24
    x_of = _x_scale(low, high, NAME_W)
    parts = _x_axis(low, high, x_of, height)
    for row, mark in enumerate(marks):
        parts += _row(mark, x_of, ROW * row + 18)
    return svg(WIDTH, height, label, parts)


def difference_chart(label: str, mark: Mark) -> Markup:
    """Draws one difference and its interval against zero."""
    low, high = _range([*mark.ends, 0.0])
    height = ROW + 24
    x_of = _x_scale(low, high, NAME_W)
    parts = _x_axis(low, high, x_of, height)
    parts.append(line(x_of(0), 2, x_of(0), height - 20, "zero"))
    return svg(WIDTH, height, label, parts + _row(mark, x_of, 18))


def _row(mark: Mark, x_of: Callable[[float], float], y: float) -> list[str]:
    left, right = (x_of(end) for end in mark.ends)
    return [
        text(0, y - 2, mark.label, "name", "start"),
        text(0, y + 12, short(mark.value), "value", "start"),
        line(left, y, right, y, f"whisker {mark.css}"),
        _dot(x_of(mark.value), y, mark),
    ]


def _dot(x: float, y: float, mark: Mark) -> str:
    radius = 5 if "champion" in mark.css else 4
    hint = f"<title>{escape(mark.hint)}</title>" if mark.hint else ""
    return f'<circle class="dot {mark.css}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}">{hint}</circle>'


def _x_scale(low: float, high: float, left: float) -> Callable[[float], float]:
    return lambda value: left + (value - low) / (high - low) * (WIDTH - left - RIGHT)


def _x_axis(low: float, high: float, x_of: Callable[[float], float], height: int) -> list[str]:
    parts = [line(x_of(low), height - 20, x_of(high), height - 20, "axis")]
    return parts + [
        text(x_of(tick), height - 6, short(tick), "tick", "middle") for tick in ticks(low, high, 4)
    ]


def _range(values: Sequence[float]) -> tuple[float, float]:
    """The span of the values with a margin, never empty."""
    low, high = min(values), max(values)
    pad = 0.08 * (high - low) or 0.05 * abs(high) or 0.1
    return low - pad, high + pad
