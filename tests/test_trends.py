"""Trends show every evaluation that MLflow has, each among those it compares with, and what was decided."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import StorageError
from storage.registry.evaluations import (
    EvaluationPoint,
    PromotionEvent,
    evaluation_history,
    promotion_history,
)
from storage.registry.names import REFERENCE_TAG
from storage.registry.registry import Registry
from tasks.pages.interval_charts import Mark, trend_chart
from tasks.pages.trends import trend_setups, write_trends
from tests.chart_shapes import assert_sound, shapes, words
from tests.evaluation_rows import newest_metrics
from tests.html_tables import Page

START = datetime(2026, 10, 1, 12, tzinfo=UTC)


def point(version: int, name: str = "fvd", setup: str = "tiny.n48", **changed) -> EvaluationPoint:
    values = {
        "version": version,
        "at": START + timedelta(hours=version),
        "name": name,
        "setup": setup,
        "value": 100.0 - version,
        "low": 90.0 - version,
        "high": 110.0 - version,
        "reference": "r" * 32,
    }
    return EvaluationPoint(**(values | changed))


def test_every_evaluation_is_kept_with_its_interval_and_its_reference(tmp_home, add_candidate):
    registry = Registry()
    first, second = add_candidate(None), add_candidate(None)
    figures = {
        "fvd.tiny.n48": 9.0,
        "fvd.tiny.n48.low": 8.0,
        "fvd.tiny.n48.high": 10.0,
        "motion.tiny.n48": 0.5,
    }
    registry.log_version_metrics(first, figures, {REFERENCE_TAG: "a" * 32})
    registry.log_version_metrics(second, {"fvd.fvd2048-16f.n2048": 400.0}, {REFERENCE_TAG: "b" * 32})
    registry.log_version_metrics(first, {"fvd.tiny.n48": 7.0, "loss": 1.0}, {REFERENCE_TAG: "c" * 32})
    for value in (math.nan, math.inf):
        with pytest.raises(StorageError, match=r"kvd\.tiny\.n48: (nan|inf) cannot be recorded"):
            registry.log_version_metrics(first, {"text_score.tiny.n48": 0.2, "kvd.tiny.n48": value})
    found = evaluation_history(registry)
    assert [(p.version, p.name, p.setup, p.value, p.low, p.high, p.reference[:1]) for p in found] == [
        (first, "fvd", "tiny.n48", 9.0, 8.0, 10.0, "a"),
        (first, "motion", "tiny.n48", 0.5, None, None, "a"),
        (second, "fvd", "fvd2048-16f.n2048", 400.0, None, None, "b"),
        (first, "fvd", "tiny.n48", 7.0, None, None, "c"),
    ]
    assert found[0].at == found[1].at < found[2].at < found[3].at <= datetime.now(UTC)
    assert [(p.protocol, p.n) for p in found[1:3]] == [("tiny", 48), ("fvd2048-16f", 2048)]
    assert newest_metrics(registry, first)["fvd.tiny.n48"] == 7.0


def test_a_version_registered_by_hand_does_not_hide_the_others(tmp_home, add_candidate):
    registry = Registry()
    first, deleted = add_candidate(0.25), add_candidate(0.26)
    with registry.start_run("by hand") as run:
        by_hand = registry.client.create_model_version("vidrd", f"runs:/{run.run_id}/model", run.run_id)
    registry.client.delete_logged_model(
        registry.client.get_model_version("vidrd", deleted).source[len("models:/") :]
    )
    assert int(by_hand.version) == 3 and newest_metrics(registry, 3) == {}
    assert {point.version for point in evaluation_history(registry)} == {first}


def test_decisions_are_read_from_the_tags_that_promote_leaves(tmp_home, add_candidate):
    registry = Registry()
    assert evaluation_history(registry) == [] == promotion_history(registry)
    versions = [add_candidate(None) for _ in range(3)]
    for version, verdict, before, minute in ((1, "promoted", "none", 1), (2, "refused", "1", 9)):
        tags = {"promotion": verdict, "promotion.reason": f"because {version}"}
        tags |= {
            "promotion.champion_before": before,
            "promotion.decided_at": f"2026-10-01T12:0{minute}:00+00:00",
        }
        registry.set_version_tags(version, tags)
    proposal = {"proposal": "promote", "proposal.reason": "better", "proposal.champion": "1"}
    registry.set_version_tags(2, proposal | {"proposal.made_at": "2026-10-01T12:05:00+00:00"})
    assert promotion_history(registry) == [
        PromotionEvent(1, START + timedelta(minutes=1), "promotion", "promoted", "because 1", None),
        PromotionEvent(2, START + timedelta(minutes=5), "proposal", "promote", "better", 1),
        PromotionEvent(2, START + timedelta(minutes=9), "promotion", "refused", "because 2", 1),
    ]
    assert len(versions) == 3 and evaluation_history(registry) == []


def test_unlike_evaluations_never_share_a_chart():
    points = [
        point(1),
        point(2, reference="s" * 32),
        point(3, setup="tiny.n40"),
        point(4, setup="quick.n48"),
        point(5),
        point(5, name="text_score", value=0.2, low=None, high=None),
        point(5, name="text_score_reference", value=0.3, low=None, high=None),
    ]
    setups = trend_setups(points, {5})
    assert [(s.protocol, s.n, s.reference[0]) for s in setups] == [
        ("quick", 48, "r"),
        ("tiny", 40, "r"),
        ("tiny", 48, "r"),
        ("tiny", 48, "s"),
    ]
    assert sum(t.num_points for s in setups for t in s.trends) == 6  # the real clips are a line, not a chart
    assert [(t.name, t.num_points, t.newest.version, t.real) for t in setups[2].trends] == [
        ("fvd", 2, 5, None),
        ("text_score", 1, 5, 0.3),
    ]


def test_the_page_names_versions_champions_and_reasons(tmp_path: Path):
    events = [
        PromotionEvent(1, START, "promotion", "promoted", "there was <none>", None),
        PromotionEvent(2, START + timedelta(hours=1), "promotion", "refused", "fvd is not below", 1),
        PromotionEvent(3, START + timedelta(hours=2), "proposal", "cannot-judge", "CLIP is blind", 1),
        PromotionEvent(3, START + timedelta(hours=3), "promotion", "cannot-judge", "CLIP is blind", 1),
    ]
    page = Page(write_trends([point(1), point(2)], events, 1, tmp_path / "trends.html"))
    assert page.table("What was decided") == [
        ["2026-10-01 15:00", "version 3", "cannot be judged", "version 1", "CLIP is blind"],
        ["2026-10-01 14:00", "version 3", "cannot be judged", "version 1", "CLIP is blind"],
        ["2026-10-01 13:00", "version 2", "refused", "version 1", "fvd is not below"],
        ["2026-10-01 12:00", "version 1 champion", "promoted", "none", "there was <none>"],
    ]
    assert page.svgs == 1 and page.addresses == []
    dots = [name for name in page.classes if name in ("champion", "plain")]
    assert sorted(dots) == ["champion", "champion", "plain", "plain"]  # a dot each, and the legend
    assert ">v1</text>" in (tmp_path / "trends.html").read_text()


values = st.floats(-1e9, 1e9, allow_subnormal=False) | st.sampled_from([0.0, 1e-9, -1e-9])


@settings(deadline=None, max_examples=50)  # each draws a chart
@given(
    st.lists(st.tuples(values, st.none() | values, st.none() | values), min_size=1, max_size=40),
    st.none() | values,
)
def test_any_finite_figures_can_be_drawn(rows, level):
    marks = [Mark(f"v{i}", value, low, high, "plain") for i, (value, low, high) in enumerate(rows)]
    chart = trend_chart("fvd", "FVD", marks, level)
    assert_sound(chart)
    assert len(shapes(chart, "dot")) == len(marks)
    assert f"v{len(marks) - 1}" in words(chart)
