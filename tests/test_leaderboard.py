"""The leaderboard keeps apart what was not taken alike, whatever figures the registry holds."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.promote.pages import write_pages
from storage.registry.evaluations import EvaluationPoint
from storage.registry.names import REFERENCE_TAG
from storage.registry.registry import Registry
from tasks.errors import RequestError
from tasks.pages.leaderboard import (
    OwnResult,
    ShownMetric,
    leaderboard_sections,
    own_results,
    write_leaderboard,
)
from tasks.pages.published import FULL_COUNT, PublishedResult, published_results
from tests.html_tables import Page

START = datetime(2026, 10, 1, 12, tzinfo=UTC)
FULL = "UCF-101, zero-shot, 10,000 videos"


def own(version: int, protocol: str, n: int, fvd: float | None, reference: str = "r" * 32) -> OwnResult:
    metrics = {"text_score": ShownMetric(0.25)} | (
        {} if fvd is None else {"fvd": ShownMetric(fvd, fvd - 5, fvd + 5)}
    )
    return OwnResult(version, protocol, n, metrics, reference, START)


results = st.lists(
    st.builds(
        own,
        st.integers(1, 99),
        st.sampled_from(["tiny", "quick", "fvd2048-16f", "vidrd-paper"]),
        st.sampled_from([4, 48, 2_048, FULL_COUNT]),
        st.none() | st.floats(0.01, 5000),
        st.sampled_from(["a" * 32, "b" * 32, ""]),
    ),
    max_size=12,
)


def test_the_published_table_names_a_text_for_every_figure():
    rows = published_results()
    assert len({row.method for row in rows}) == len(rows) > 25
    for row in rows:
        assert re.search(r"\d{4}\.\d{5}", row.source), row.method
        assert row.setting == "zero-shot" or row.fvd < 300, "trained on UCF-101, yet as far as zero-shot"
    vidrd = {row.fvd: row.inception_score for row in rows if row.method.startswith("VidRD")}
    assert vidrd == {363.19: 39.37, 369.48: 39.24}


@settings(deadline=None)
@given(results)
def test_rows_of_one_table_were_taken_alike(own_rows):
    sections = leaderboard_sections(own_rows, published_results())
    shown = [row for section in sections for row in section.rows]
    assert len(shown) == len(own_rows) + len(published_results())
    for section in sections:
        ours = [row for row in section.rows if isinstance(row, OwnResult)]
        published = [row for row in section.rows if isinstance(row, PublishedResult)]
        assert section.apart and len({row.setting for row in published}) <= 1
        if ours and published:
            assert {(row.protocol, row.n) for row in ours} == {("vidrd-paper", FULL_COUNT)}
            assert {(row.setting, row.videos) for row in published} == {("zero-shot", FULL_COUNT)}
        elif ours:
            assert len({(row.protocol, row.n, row.reference) for row in ours}) == 1
        fvds = [
            row.fvd if isinstance(row, PublishedResult) else row.metrics.get("fvd") for row in section.rows
        ]
        values = [fvd.value if isinstance(fvd, ShownMetric) else fvd for fvd in fvds]
        known = [value for value in values if value is not None]
        assert values == sorted(known) + [None] * (len(values) - len(known))


def test_no_tiny_figure_shares_a_table_with_a_published_one(tmp_path: Path):
    mine = [
        own(1, "tiny", 48, 100.5),
        own(2, "vidrd-paper", 2_048, 365.25),
        own(3, "vidrd-paper", FULL_COUNT, 365.75),
        own(4, "tiny", 48, 99.5, reference="s" * 32),
    ]
    page = Page(write_leaderboard(mine, tmp_path / "leaderboard.html"))
    full = page.table(FULL)
    methods = [row[0] for row in full]
    assert methods.index("VidRD, fine-tuned decoder") + 1 == methods.index("ours, version 3")
    assert full[methods.index("ours, version 3")][2] == "365.8 [360.8, 370.8]"
    assert [method for method in methods if method.startswith("ours")] == ["ours, version 3"]
    for heading, cell in (
        ("Ours: protocol tiny, 48 videos, reference rrrr", "version 1"),
        ("Ours: protocol tiny, 48 videos, reference ssss", "version 4"),
        ("Ours: protocol vidrd-paper, 2,048 videos", "version 2"),
    ):
        assert [row[0] for row in page.table(heading)] == [cell]
    published = {row.method for row in published_results()}
    for heading, rows in page.tables:
        if any(row[0] in published for row in rows):
            assert heading.startswith("UCF-101") and not any("tiny" in cell for row in rows for cell in row)
    assert all(address.startswith("#") for address in page.addresses)  # nothing outside the page


def test_the_newest_evaluation_of_a_version_stands_for_it():
    points = [
        EvaluationPoint(1, START + timedelta(hours=hour), name, "tiny.n48", value, None, None, "r")
        for hour, fvd, text in ((0, 9.0, 0.1), (2, 7.0, 0.3), (1, 8.0, 0.2))
        for name, value in (("fvd", fvd), ("text_score", text), ("text_score_reference", 0.5))
    ]
    (result,) = own_results(points)
    assert {name: figure.value for name, figure in result.metrics.items()} == {"fvd": 7.0, "text_score": 0.3}
    assert (result.protocol, result.n, result.at) == ("tiny", 48, START + timedelta(hours=2))


def test_a_page_that_cannot_be_written_is_one_line_and_leaves_nothing(tmp_path: Path):
    (tmp_path / "leaderboard.html").mkdir()
    with pytest.raises(RequestError, match=r"leaderboard\.html: cannot be written"):
        write_leaderboard([], tmp_path / "leaderboard.html")
    assert [path.name for path in tmp_path.iterdir()] == ["leaderboard.html"]


def test_pages_of_a_registry(tmp_home: Path, add_candidate):
    registry = Registry()
    pages = write_pages(registry)
    assert [path.relative_to(tmp_home) for path in pages.values()] == [
        Path("evaluation/leaderboard.html"),
        Path("evaluation/trends.html"),
    ]
    assert "Nothing has been evaluated yet." in pages["trends"].read_text()
    version = add_candidate(None)
    registry.log_version_metrics(version, {"fvd.tiny.n48": 123.5}, {REFERENCE_TAG: "f" * 32})
    again = Page(write_pages(registry)["leaderboard"])
    assert again.table("Ours: protocol tiny, 48 videos, reference ffff")[0][0] == f"version {version}"
    assert Page(pages["trends"]).svgs == 1
