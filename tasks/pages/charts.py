"""Charts as inline SVG; colours come from the page's CSS, so they follow its light and dark theme."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from markupsafe import Markup

from tasks.pages.svg import line, short, svg, text, ticks

WIDTH, PLOT_TOP, PLOT_LEFT, PLOT_RIGHT = 640, 14, 46, 12


def score_histogram(
    right: Sequence[float], wrong: Sequence[float], threshold: float, num_bins: int = 36
) -> Markup:
    """Draws scores of right captions upwards, of wrong ones downwards; left of the threshold is rejected."""
    scores = [*right, *wrong, threshold]
    low, high = min(scores), max(scores)
    pad = 0.03 * (high - low) or 0.01
    low, high = low - pad, high + pad
    counts_up, counts_down = _bins(right, low, high, num_bins), _bins(wrong, low, high, num_bins)
    # One scale for both: a bar of twice the captions is twice as long, whichever way it points.
    up, down = max(1, *counts_up), max(1, *counts_down)
    px_per_caption = 220 / (up + down)
    middle = PLOT_TOP + 8 + up * px_per_caption
    plot_bottom = middle + down * px_per_caption + 8
    height = int(plot_bottom) + 38

    def x_of(value: float) -> float:
        return PLOT_LEFT + (value - low) / (high - low) * (WIDTH - PLOT_LEFT - PLOT_RIGHT)

    bar_w = (WIDTH - PLOT_LEFT - PLOT_RIGHT) / num_bins
    line_x = x_of(threshold)
    parts = [
        f'<rect class="rejected-zone" x="{PLOT_LEFT}" y="{PLOT_TOP}" '
        f'width="{line_x - PLOT_LEFT:.1f}" height="{plot_bottom - PLOT_TOP:.1f}"/>'
    ]
    for counts, name in ((counts_up, "right"), (counts_down, "wrong")):
        for i, count in enumerate(counts):
            bar_h = count * px_per_caption
            y = middle - bar_h if name == "right" else middle
            if count:
                parts.append(
                    f'<rect class="bar-{name}" x="{PLOT_LEFT + i * bar_w + 0.5:.1f}" y="{y:.1f}" '
                    f'width="{bar_w - 1:.1f}" height="{bar_h:.1f}"><title>{count} {name}</title></rect>'
                )
    parts.append(line(PLOT_LEFT, middle, WIDTH - PLOT_RIGHT, middle, "axis"))
    for tick in ticks(low, high, 7):
        parts.append(text(x_of(tick), plot_bottom + 15, short(tick), "tick", "middle"))
    parts.append(text((PLOT_LEFT + WIDTH - PLOT_RIGHT) / 2, height - 5, "CLIP score", "tick", "middle"))
    parts.append(line(line_x, PLOT_TOP - 6, line_x, plot_bottom, "threshold"))
    # The label stays on the side where there is room for it.
    anchor, shift = ("start", 6) if line_x < WIDTH * 0.7 else ("end", -6)
    parts.append(text(line_x + shift, PLOT_TOP + 6, f"threshold {short(threshold)}", "label", anchor))
    for count, y in ((up, PLOT_TOP + 8), (0, middle), (down, plot_bottom - 8)):
        parts.append(text(PLOT_LEFT - 6, y + 4, str(count), "tick", "end"))
    return svg(WIDTH, height, "Histogram of CLIP scores, right captions above, wrong captions below", parts)


def loss_chart(points: Sequence[tuple[int, float | None]]) -> Markup:
    """Draws a loss by step: the steps as they are, faint, and their mean over a twentieth of the run.

    Steps without a finite loss are gaps in the faint curve, and marked below it.
    """
    known = [(step, loss) for step, loss in points if loss is not None and math.isfinite(loss)]
    if not known:
        return svg(
            WIDTH,
            40,
            "No step had a finite loss",
            [text(0, 24, "no step had a finite loss", "label", "start")],
        )
    height, bottom = 230, 38
    smooth = _smoothed(known)
    ordered = sorted(loss for _, loss in known)
    low, high = ordered[0], max(ordered[int(0.99 * (len(ordered) - 1))], max(loss for _, loss in smooth))
    # The least floats have no twentieth part, which the margins and the ticks need.
    span = max((high - low) or abs(high) or 1.0, 1e-300)
    low, high = max(0.0, low - 0.05 * span), high + 0.05 * span
    first, last = points[0][0], max(points[-1][0], points[0][0] + 1)

    def place(step: float, loss: float) -> str:
        x = PLOT_LEFT + (step - first) / (last - first) * (WIDTH - PLOT_LEFT - PLOT_RIGHT)
        y = PLOT_TOP + (high - min(loss, high)) / (high - low) * (height - PLOT_TOP - bottom)
        return f"{x:.1f},{y:.1f}"

    parts = []
    for tick in ticks(low, high, 5):
        y = float(place(first, tick).split(",")[1])
        parts.append(line(PLOT_LEFT, y, WIDTH - PLOT_RIGHT, y, "grid"))
        parts.append(text(PLOT_LEFT - 6, y + 4, short(tick), "tick", "end"))
    for tick in ticks(first, last, 7):
        x = float(place(tick, low).split(",")[0])
        parts.append(text(x, height - 22, short(tick), "tick", "middle"))
    parts.append(text((PLOT_LEFT + WIDTH - PLOT_RIGHT) / 2, height - 5, "step", "tick", "middle"))
    for series, name in ((points, "raw"), (smooth, "smooth")):
        for stretch in _unbroken(series):
            path = " ".join(place(step, loss) for step, loss in stretch)
            parts.append(f'<polyline class="curve-{name}" points="{path}"/>')
    for step in sorted({step for step, _ in points} - {step for step, _ in known}):
        x, y = map(float, place(step, low).split(","))
        mark = f"<title>step {step}: not finite</title>"
        parts.append(f'<circle class="not-finite" cx="{x}" cy="{y}" r="3">{mark}</circle>')
    return svg(WIDTH, height, "Training loss by step", parts)


def _smoothed(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """The mean over a twentieth of the run around each step."""
    reach = len(points) // 40
    smooth = []
    for i, (step, _) in enumerate(points):
        # The window shrinks at both ends, so that it stays centred.
        side = min(reach, i, len(points) - 1 - i)
        window = [loss for _, loss in points[i - side : i + side + 1]]
        smooth.append((step, sum(loss / len(window) for loss in window)))
    return smooth


def _unbroken(points: Sequence[tuple[int, float | None]]) -> Iterator[list[tuple[int, float]]]:
    """The stretches of a curve between steps without a finite value."""
    stretch: list[tuple[int, float]] = []
    for step, value in points:
        if value is not None and math.isfinite(value):
            stretch.append((step, value))
        elif stretch:
            yield stretch
            stretch = []
    if stretch:
        yield stretch


def bar_chart(
    rows: Sequence[tuple[str, float, str]], highlight: str | None = None, is_good: bool = True
) -> Markup:
    """Draws horizontal bars from (name, value, printed value).

    The highlighted one has the accent colour, or that of what is wrong where it is not good.
    """
    row_h, name_w, value_w = 28, 150, 96
    largest = max((value for _, value, _ in rows), default=0) or 1.0
    parts = []
    for i, (name, value, printed) in enumerate(rows):
        y = PLOT_TOP / 2 + i * row_h
        w = max(1.5, value / largest * (WIDTH - name_w - value_w))
        kind = "bar-plain" if name != highlight else "bar-accent" if is_good else "bar-wrong"
        parts.append(text(name_w - 10, y + 16, name, "name", "end"))
        parts.append(f'<rect class="{kind}" x="{name_w}" y="{y + 4}" width="{w:.1f}" height="16" rx="1.5"/>')
        parts.append(text(name_w + w + 8, y + 16, printed, "value", "start"))
    return svg(
        WIDTH, int(PLOT_TOP + len(rows) * row_h), "Bars: " + ", ".join(name for name, _, _ in rows), parts
    )


def _bins(values: Sequence[float], low: float, high: float, num_bins: int) -> list[int]:
    counts = [0] * num_bins
    for value in values:
        counts[min(num_bins - 1, int((value - low) / (high - low) * num_bins))] += 1
    return counts
