"""The pieces that charts are drawn of, as SVG text; colours come from the CSS classes of the page."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup, escape

from storage.local.visible import visible


def ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) inside [low, high]."""
    raw = (high - low) / about
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)
    start = math.ceil(low / step)
    return [i * step for i in range(start, math.floor(high / step) + 1)]


def short(value: float) -> str:
    """A number in four figures at most."""
    return f"{value:.4g}"


def line(x1: float, y1: float, x2: float, y2: float, name: str) -> str:
    """A straight line of a CSS class."""
    return f'<line class="{name}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def text(x: float, y: float, words: str, name: str, anchor: str) -> str:
    """Escaped words of a CSS class; `anchor` is start, middle or end."""
    return (
        f'<text class="{name}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(visible(words))}</text>'
    )


def svg(width: int, height: int, label: str, parts: Sequence[str]) -> Markup:
    """A whole picture that takes the width of the page's column; `label` is for those who cannot see it."""
    return Markup(
        f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(visible(label))}">'
        + "".join(parts)
        + "</svg>"
    )
