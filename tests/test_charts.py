"""Charts: words of others stay words, the same data has the same bytes, and colours are those of the page."""

from __future__ import annotations

import math
from collections.abc import Callable
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest

from storage.local.visible import visible
from tasks.experiments.results import Result, Row
from tasks.pages.axes import ticks
from tasks.pages.charts import bar_chart, loss_chart, score_histogram, stacked_histogram
from tasks.pages.experiment_charts import draw_charts
from tasks.pages.histogram import Histogram
from tasks.pages.interval_charts import Mark, difference_chart, trend_chart, values_chart
from tasks.pages.svg import Chart
from tasks.pages.theme import DARK, LIGHT
from tests.chart_shapes import assert_sound, hints, shapes, words
from tests.shown_words import ESCAPES, WORDS, assert_printable

HOSTILE = f"{WORDS}{ESCAPES} $\\frac{{1}}{{2}}$ $x^ \ufffe\uffff \u8a9e var(--ink) #2f67b8"
MARK = Mark(HOSTILE, 1.0, 0.5, 2.0, "champion", HOSTILE)


def _histogram() -> Histogram:
    histogram = Histogram(("kept", "rejected"))
    histogram.add("kept", np.arange(9.0))
    return histogram


def _experiment(**metrics: float) -> Result:
    return Result(HOSTILE, HOSTILE, [Row(HOSTILE, clips, 4, metrics, "recommended") for clips in (1, 2)])


CHARTS: dict[str, Callable[[], Chart]] = {
    "trend": lambda: trend_chart(HOSTILE, HOSTILE, [MARK, MARK], 1.5),
    "values": lambda: values_chart(HOSTILE, HOSTILE, [MARK, MARK]),
    "difference": lambda: difference_chart(HOSTILE, HOSTILE, MARK),
    "bars": lambda: bar_chart([(HOSTILE, 1.0, HOSTILE)], HOSTILE, HOSTILE),
    "histogram": lambda: stacked_histogram(_histogram(), HOSTILE, HOSTILE, [2.0, 4.0]),
    "curves": lambda: draw_charts(_experiment(peak_mib=3.0))["peak_mib"],
    "trade-off": lambda: draw_charts(_experiment(between_clips=0.4, cycling=0.1))["trade-off"],
    "scores": lambda: score_histogram([0.3, 0.4], [0.1], 0.2),
    "losses": lambda: loss_chart([(step, 1 / (step + 1)) for step in range(200)]),
}


@pytest.mark.parametrize("name", CHARTS)
def test_every_label_shows_its_words(name: str) -> None:
    chart = CHARTS[name]()
    shown = visible(HOSTILE).replace("\ufffe\uffff", "\ufffd\ufffd")
    if name not in ("scores", "losses"):
        assert shown in words(chart) or shown in hints(chart)
    assert_sound(chart)
    for text in (str(chart), chart.file_text()):
        assert_printable(text)
        ElementTree.fromstring(text)


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_has_the_same_bytes_whatever_a_user_has_set(name: str) -> None:
    first = str(CHARTS[name]())
    with matplotlib.rc_context(
        {"font.size": 40, "axes.grid": True, "svg.fonttype": "path", "text.parse_math": True}
    ):
        assert str(CHARTS[name]()) == first


def test_colours_are_the_pages_inline_and_the_light_ones_in_a_file() -> None:
    chart = trend_chart("fvd", "FVD", [Mark("v1", 1.0, 0.5, 2.0, "plain")], 1.5)
    assert f"fill: {LIGHT['plain']}" in chart.file_text() and "var(" not in chart.file_text()
    assert "fill: var(--plain)" in str(chart) and LIGHT["plain"] not in str(chart)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_has_no_place_and_hides_nothing_else(value: float) -> None:
    """A metric or the end of an interval may be; what has a place is drawn, and the value is written all the same."""
    marks = [Mark("known", 1.0, value, 2.0, "plain"), Mark("unknown", value, value, value, "plain")]
    for chart in (
        trend_chart("t", "t", marks),
        values_chart("v", "v", marks),
        values_chart("v", "v", marks[1:]),
    ):
        assert_sound(chart)
        assert len(shapes(chart, "dot")) == (1 if "known" in words(chart) else 0)
    assert f"{value:.4g}" in words(values_chart("v", "v", marks))
    assert_sound(difference_chart("d", "d", marks[1]))
    bars = bar_chart([("known", 1.0, "1"), ("unknown", value, "not finite")], "loss")
    assert_sound(bars)
    assert len(shapes(bars, "bar-plain")) == 1 and "not finite" in words(bars)
    rows = [
        Row(str(number), number, 4, {"between_clips": number, "cycling": number}) for number in (1.0, value)
    ]
    assert_sound(draw_charts(Result("e", "?", rows))["trade-off"])


def test_each_theme_has_each_colour_and_text_can_be_read() -> None:
    assert LIGHT.keys() == DARK.keys() and len(set(LIGHT.values())) == len(LIGHT)
    for theme in (LIGHT, DARK):
        for name, least in {"ink": 7.0, "soft": 4.5, "right": 3.0, "wrong": 3.0, "plain": 3.0}.items():
            assert _contrast(theme[name], theme["paper"]) >= least, (name, theme[name])


def test_ticks_can_be_told_apart() -> None:
    for low, high in ((0.0, 1.0), (1e9, 1e9 + 5), (300.01, 300.02), (-1e-12, 1e-12), (0.0, 0.3)):
        at, names = ticks(low, high, 5)
        assert 2 <= len(at) <= 7 and len(set(names)) == len(at)
        assert all(
            float(name) == pytest.approx(tick, abs=1e-3 * (high - low))
            for tick, name in zip(at, names, strict=True)
        )


def _contrast(one: str, other: str) -> float:
    """The ratio of two colours' luminances, as the guidelines for accessible pages take it."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    parts = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])
