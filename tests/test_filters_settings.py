"""Filters: each one rejects by its own column and bound, in a fixed order, and never by what is not known."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tasks.filters.settings import REASONS, FilterSettings

GOOD: dict[str, Any] = {
    "kind": "short-videos",
    "source_side": 256,
    "source_duration": 4.0,
    "interlaced": 0.0,
    "picture": 1.0,
    "brightness": 120.0,
    "frozen": 0.0,
    "motion": 3.0,
    "jump": 1.5,
    "text_area": 0.01,
    "held_text_area": 0.0,
    "nudity": 0.1,
    "clip_score": 0.3,
    "clip_score_min": 0.28,
    "aesthetic": 5.0,
}
STRICT = FilterSettings(
    clip_threshold=0.25,
    clip_min_threshold=0.2,
    min_motion=0.5,
    max_motion=20,
    max_jump=6,
    min_brightness=24,
    max_frozen=0.5,
    max_interlaced=0.2,
    min_picture=0.8,
    max_text_area=0.1,
    max_held_text_area=0.02,
    max_nudity=0.4,
    min_source_side_px=128,
    min_source_duration_s=1,
    min_aesthetic=4.5,
)
BAD: dict[str, list[Any]] = {
    "source_side": [127],
    "source_duration": [0.99],
    "interlaced": [0.21],
    "picture": [0.79],
    "brightness": [23.9],
    "frozen": [0.51],
    "motion": [0.49, 20.1],
    "jump": [6.1],
    "text_area": [0.11],
    "held_text_area": [0.021],
    "nudity": [0.41],
    "clip_score": [0.249, float("nan")],
    "clip_score_min": [0.199],
    "aesthetic": [4.4],
}


@pytest.mark.parametrize(("column", "value"), [(name, value) for name in BAD for value in BAD[name]])
def test_each_filter_names_its_column(column: str, value: float) -> None:
    assert STRICT.reject_reason(GOOD) is None
    assert STRICT.reject_reason(GOOD | {column: value}) == column
    assert STRICT.reject_reason(GOOD | {column: None}) is None


def test_bounds_are_inside() -> None:
    at_bounds = {"source_side": 128, "source_duration": 1.0, "frozen": 0.5, "motion": 0.5, "clip_score": 0.25}
    assert STRICT.reject_reason(GOOD | at_bounds) is None
    assert STRICT.reject_reason(GOOD | {"motion": 20.0, "jump": 6.0}) is None


@given(st.sets(st.sampled_from(REASONS)), st.sets(st.sampled_from(REASONS)))
def test_the_first_failure_known_is_the_reason(bad: set[str], unknown: set[str]) -> None:
    row = GOOD | {column: BAD[column][0] for column in bad} | dict.fromkeys(unknown)
    failed = [column for column in REASONS if column in bad - unknown]
    assert STRICT.reject_reason(row) == (failed[0] if failed else None)


def test_motion_of_an_image_is_ours_and_rejects_nothing() -> None:
    drawn = GOOD | {"kind": "images", "motion": 0.0, "frozen": 1.0, "jump": 99.0, "source_duration": None}
    drawn |= {"held_text_area": 0.5}
    assert STRICT.reject_reason(drawn) is None
    assert STRICT.reject_reason(drawn | {"brightness": 3.0}) == "brightness"


def test_as_they_are_only_the_score_decides() -> None:
    settings = FilterSettings()
    assert settings.reject_reason({"kind": "images", "clip_score": 0.25}) is None
    assert settings.reject_reason({"kind": "images", "clip_score": 0.2}) == "clip_score"
    assert settings.duplicates == "off"


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"min_motion": 5, "max_motion": 4}, "min_motion must not exceed max_motion"),
        ({"duplicates": "exact"}, "duplicates"),
        ({"max_frozen": 1.5}, "max_frozen"),
        ({"min_beauty": 1}, "min_beauty"),
    ],
)
def test_wrong_settings_are_refused_by_name(values: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        FilterSettings(**values)
