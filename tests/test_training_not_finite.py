"""What is said of steps that were not finite: loss or gradient, whose clips, and what to change."""

import math

import pytest
from pydantic import ValidationError

from tasks.training.progress import Progress, name_skipped, why_it_ends
from tasks.training.settings import DecoderSettings, TemporalSettings

SETTINGS = TemporalSettings(batch_size=4, num_workers=1, lr=0.5)
ALL = ["a", "b", "c", "d"]


def skipped(*steps) -> Progress:
    """A training whose steps all came to nothing."""
    progress = Progress()
    for what, clips in steps:
        progress.skip(what, clips)
        progress.end_step({"loss": math.nan, "lr": 0.5, "gradient_norm": math.nan}, {})
    return progress


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        (
            [("loss", ["a"]), ("loss", ["b"])],
            "the loss was not finite in 2 steps in a row, up to step 1 (clips a, b);",
        ),
        (
            [("gradient", ALL), ("gradient", ALL)],
            "the gradient was not finite in 2 steps in a row, up to step 1",
        ),
        (
            [("loss", ALL), ("loss", ALL)],
            "the loss was not finite in 2 steps in a row, up to step 1, for every clip;",
        ),
        (
            [("loss", ["a"]), ("gradient", ALL)],
            "the loss, in 1 of them only the gradient, was not finite in 2 steps in a row, up to step 1 (clips a);",
        ),
    ],
)
def test_the_line_that_ends_a_training_names_what_it_was_and_no_innocent_clip(steps, said):
    line = why_it_ends(skipped(*steps), SETTINGS)
    assert line.startswith(said) and "lower lr (it is 0.5)" in line and "\n" not in line
    half = SETTINGS.model_copy(update={"precision": "bfloat16"})
    assert 'precision = "float32"' in why_it_ends(skipped(*steps), half)


def test_many_skipped_steps_are_told_in_one_line():
    line = name_skipped(skipped(*[("gradient", [f"clip-{i}" for i in range(100)])] * 50).skipped)
    assert line.startswith("step 0 (gradient): clip-0, ") and line.endswith("; 34 more")
    assert "and 84 more" in line and len(line) < 5000


@pytest.mark.parametrize("settings", [TemporalSettings, DecoderSettings])
@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_settings_that_are_not_finite_are_refused_by_name(settings, value):
    with pytest.raises(ValidationError, match=r"lr\n.*finite number"):
        settings(lr=value)
