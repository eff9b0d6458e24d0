"""A decision's page says what the intervals say, in words, in colour and in place."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.evaluation.verdict import Decision, MetricComparison, Role
from tasks.pages.decision import meaning, write_decision
from tests.html_tables import Page
from vidrd_model.metrics.intervals import Estimate


def interval(value: float, half: float) -> Estimate:
    return Estimate(value, value - half, value + half, half / 2, 20)


def comparison(
    name: str,
    better: str,
    difference: float | None,
    half: float = math.nan,
    role: Role = "gate",
    passes: bool = True,
) -> MetricComparison:
    return MetricComparison(
        name,
        better,
        role,
        interval(5.0 + (difference or 0), half),
        None if difference is None else interval(5.0, half),
        None if difference is None else interval(difference, half),
        None,
        passes,
        f"{name} says <so>",
    )


def write(path: Path, *comparisons: MetricComparison, champion: int | None = 3) -> Path:
    decision = Decision("refuse", "cycling is worse & that decides", list(comparisons))
    return write_decision(decision, 4, champion, {"protocol": "tiny", "n": 48}, path)


@pytest.mark.parametrize(
    ("low", "high", "better", "said"),
    [
        (-3.0, -1.0, "lower", "better"),
        (-3.0, -1.0, "higher", "worse"),
        (1.0, 3.0, "lower", "worse"),
        (1.0, 3.0, "higher", "better"),
        (-1.0, 3.0, "lower", "unsure"),
        (0.0, 3.0, "higher", "unsure"),
        (math.nan, math.nan, "lower", "unsure"),
        (-math.inf, math.inf, "higher", "unsure"),
        (1.0, 3.0, "neither", "unsure"),
    ],
)
def test_an_interval_means_something_only_beside_zero(low, high, better, said):
    assert meaning(Estimate(1.0, low, high, 1.0, 20), better) == said


@settings(deadline=None)
@given(st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_swapping_champion_and_candidate_swaps_the_meaning(value, half):
    swapped = {"better": "worse", "worse": "better", "unsure": "unsure"}
    there, back = interval(value, half), interval(-value, half)
    assert meaning(back, "lower") == swapped[meaning(there, "lower")] == meaning(there, "higher")


def test_the_page_shows_each_comparison_with_its_role_and_colour(tmp_path: Path):
    path = write(
        tmp_path / "decision.html",
        comparison("fvd", "lower", -65.0, 22.0),
        comparison("text_score", "higher", 0.003, 0.007),
        comparison("cycling", "lower", 0.08, 0.05, role="signature", passes=False),
    )
    page, text = Page(path), path.read_text()
    assert page.svgs == 6 and page.addresses == [] and not page.tables
    assert "<h1>Not promoted</h1>" in text and "cycling is worse &amp; that decides" in text
    assert "against champion 3" in text and "cycling says &lt;so&gt;" in text
    assert [heading.split(" is better")[0] for heading in page.headings] == [
        "FVD lower",
        "text score higher",
        "cycling lower",
    ]
    # A whisker and a dot for each difference, and one key of the legend for each colour.
    assert [page.classes.count(name) for name in ("better", "unsure", "worse")] == [3, 3, 3]
    assert page.classes.count("before") == page.classes.count("after") == 6
    assert page.classes.count("fails") == 1


def test_without_a_champion_only_the_floors_stand_there(tmp_path: Path):
    floor = comparison("seam_boundary", "lower", None, role="floor")
    page = Page(write(tmp_path / "decision.html", floor, champion=None))
    assert page.svgs == 1 and "no champion yet" in (tmp_path / "decision.html").read_text()
    assert page.classes.count("before") == 0 and page.classes.count("after") == 2
