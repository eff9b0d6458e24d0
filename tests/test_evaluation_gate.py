"""The gate: what it lets through, what it refuses, and that chance is no improvement."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.evaluation.features import VideoFeatures
from tasks.evaluation.gate import decide
from tasks.evaluation.metrics import ReportedMetric, named_metrics, reported_metrics, too_few_videos
from tasks.evaluation.protocols import find_protocol
from tasks.evaluation.settings import GateSettings
from tasks.evaluation.text_score import text_contrast
from tasks.evaluation.verdict import Decision
from tests.evaluation_rows import rows
from vidrd_model.metrics.intervals import Estimate

TINY = find_protocol("tiny")

GATE = GateSettings()
REAL = rows(text=0.32, seed=99, long=0)


def decided(candidate: VideoFeatures, champion: VideoFeatures | None) -> Decision:
    return decide(candidate, champion, REAL, find_protocol("tiny"), GATE)


def test_without_a_champion_the_floors_decide() -> None:
    assert decided(rows(), None).promote
    refused = decided(rows(text=0.2), None)
    assert not refused.promote and "below the floor 0.22" in refused.reason
    jumping = decided(rows(boundary=3.5), None)
    assert not jumping.promote and "seam_boundary 3.4" in jumping.reason


def test_a_contrast_that_chance_may_have_made_is_said_to_be() -> None:
    """However large: the word is not that it is too low, where its interval holds 0."""
    lucky = rows()
    lucky.clip_video_nd[::2] += 2.0 * np.eye(lucky.clip_video_nd.shape[1])[lucky.caption_n[::2].astype(int)]
    lucky.clip_video_nd[1::2] -= 1.8 * np.eye(lucky.clip_video_nd.shape[1])[lucky.caption_n[1::2].astype(int)]
    decision = decided(lucky, None)
    (contrast,) = [seen.candidate for seen in decision.comparisons if seen.name == "text_contrast"]
    assert contrast.low <= 0 and contrast.value > 0.24  # its floor, three quarters of the reference's
    assert not decision.promote and "may be chance" in decision.reason
    assert f"its 95% interval begins at {contrast.low:.4f}" in decision.reason


def test_a_surely_better_candidate_replaces_the_champion() -> None:
    decision = decided(rows(shift=0.5, seed=1), rows(shift=2.0, seed=2))
    assert decision.promote and "is surely below the champion's" in decision.reason
    (gate,) = [seen for seen in decision.comparisons if seen.role == "gate"]
    assert gate.name == "fvd" and gate.difference is not None and gate.difference.high < 0


def test_what_chance_may_have_done_is_no_improvement() -> None:
    """Two draws of one model: the one with the lower distance is not surely the better one."""
    pairs = [(rows(seed=2 * i, shift=0.3), rows(seed=2 * i + 1, shift=0.3)) for i in range(20)]
    promoted = [decided(a, b).promote or decided(b, a).promote for a, b in pairs]
    assert sum(promoted) <= 3  # a 95 % interval, from two sides
    assert not decided(rows(), rows()).promote


def test_pairs_see_what_unpaired_rows_would_not() -> None:
    """The same videos, all of them a little nearer to the real ones: with the same seeds that is no chance."""
    champion = rows(shift=0.8, seed=5)
    assert decided(rows(shift=0.7, seed=5), champion).promote
    assert not decided(rows(shift=0.7, seed=6), champion).promote


def test_a_worse_candidate_stays() -> None:
    decision = decided(rows(shift=1.2, text=0.5, seed=1), rows(shift=0.5, seed=2))
    assert not decision.promote and "not surely below" in decision.reason


@pytest.mark.parametrize(
    ("worse", "named"),
    [({"text": 0.27}, "text_score"), ({"cycling": 0.3}, "cycling"), ({"boundary": 1.5}, "boundary")],
)
def test_better_fvd_does_not_buy_a_failure_signature(worse: dict, named: str) -> None:
    champion = rows(shift=2.0, seed=2)
    assert decided(rows(shift=0.5, seed=1), champion).promote
    decision = decided(rows(shift=0.5, seed=1, **worse), champion)
    assert not decision.promote and named in decision.reason and "worsens" in decision.reason


def test_floors_hold_beside_a_bad_champion_too() -> None:
    assert not decided(rows(text=0.1, seed=1), rows(shift=2.0, text=0.1, seed=2)).promote


def test_without_i3d_text_score_decides() -> None:
    without = rows(width=0, text=0.30, seed=1)
    real = rows(width=0, text=0.32, seed=99, long=0)

    def decided_by_text(candidate: VideoFeatures, champion: VideoFeatures) -> Decision:
        return decide(candidate, champion, real, find_protocol("tiny"), GATE)

    better = decided_by_text(without, rows(width=0, text=0.26, seed=2))
    assert better.promote and "text_score 0.3 " in better.reason
    assert decided_by_text(rows(width=0, text=0.26, seed=1), without).verdict == "refuse"


BROKEN: dict[str, Callable[[VideoFeatures], VideoFeatures]] = {
    "nan text": lambda good: replace(good, text_score_nw=_with(good.text_score_nw, np.nan)),
    "inf text": lambda good: replace(good, text_score_nw=_with(good.text_score_nw, np.inf)),
    "nan vectors": lambda good: replace(good, clip_video_nd=_with(good.clip_video_nd, np.nan)),
    "inf features": lambda good: replace(good, i3d_nwd=_with(good.i3d_nwd, np.inf)),
    "huge features": lambda good: replace(good, i3d_nwd=good.i3d_nwd.astype(np.float64) * 1e200),
    "nan frozen": lambda good: replace(good, frozen_n=_with(good.frozen_n, np.nan)),
    "inf seam": lambda good: replace(good, seam_boundary_n=_with(good.seam_boundary_n, np.inf)),
    "inf cycling": lambda good: replace(good, cycling_n=_with(good.cycling_n, -np.inf)),
    "no seams": lambda good: replace(good, seam_boundary_n=np.full(len(good), np.nan)),
    "no cycling": lambda good: replace(good, cycling_n=np.full(len(good), np.nan)),
    "one long video": lambda good: replace(
        good, cycling_n=np.where(np.arange(len(good)) < 1, good.cycling_n, np.nan)
    ),
    "no text": lambda good: replace(good, text_score_nw=np.zeros((len(good), 0))),
    "no fvd": lambda good: replace(good, i3d_nwd=good.i3d_nwd[:, :, :0]),
    "another I3D": lambda good: replace(good, i3d_nwd=good.i3d_nwd[:, :, :2]),
    "few videos": lambda good: good.take(range(GATE.min_videos - 1)),
    "one video": lambda good: good.take([0]),
    "no video": lambda good: good.take([]),
    "one caption": lambda good: replace(good, caption_n=np.zeros(len(good), np.uint64)),
}


def _with(column: np.ndarray, value: float) -> np.ndarray:
    spoilt = column.astype(np.float64)
    spoilt[3] = value
    return spoilt


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("whose", ["candidate", "champion", "reference"])
def test_rows_that_allow_no_verdict_promote_nothing(whose: str, broken: str) -> None:
    """Whatever is broken, and on whichever side: the champion stays, and one sentence says why."""
    good = {"candidate": rows(shift=0.5, seed=1), "champion": rows(shift=2.0, seed=2), "reference": REAL}
    of_models = {"inf seam", "inf cycling", "no seams", "no cycling", "one long video"}
    if (whose == "reference" and broken in of_models) or (whose, broken) == ("champion", "one caption"):
        return  # what the real clips, or the champion, are not asked for
    sides = good | {whose: BROKEN[broken](good[whose])}
    for champion in {None, "champion"} if whose != "champion" else {"champion"}:
        decision = decide(
            sides["candidate"],
            None if champion is None else sides["champion"],
            sides["reference"],
            find_protocol("tiny"),
            GATE,
        )
        assert decision.verdict == "cannot-judge", (broken, decision.reason)
        assert "\n" not in decision.reason and decision.reason[0].isupper() and decision.reason.endswith(".")
        assert whose in decision.reason or "fvd" in decision.reason


@pytest.mark.parametrize(
    ("broken", "named"),
    [("nan text", "text_score"), ("nan vectors", "text_contrast"), ("inf features", "fvd"), ("nan frozen", "frozen"),
     ("inf seam", "seam_boundary"), ("no cycling", "cycling")],
)  # fmt: skip
def test_the_reason_names_the_metric_whose_rows_are_broken(broken: str, named: str) -> None:
    assert (
        f"The candidate's {named} is not finite for 1 of 40 videos"
        in (decided(BROKEN[broken](rows()), None).reason)
        or f"The candidate has no {named}" in decided(BROKEN[broken](rows()), None).reason
    )


def test_videos_that_are_no_pairs_are_not_compared() -> None:
    good = rows(shift=0.5, seed=1)
    for champion in (rows(n=30, shift=2.0), rows(long=12, shift=2.0)):
        decision = decided(good, champion)
        assert decision.verdict == "cannot-judge" and "candidate" in decision.reason


@pytest.mark.parametrize("champion", [None, rows(shift=30.0, text=-0.02, wrong=-0.013, seed=2)])
def test_where_clip_does_not_know_the_real_clips_nothing_is_judged(champion: VideoFeatures | None) -> None:
    """Footage that the profile's CLIP has never seen: junk with FVD in the thousands was champion once."""
    blind = rows(text=-0.013, wrong=-0.013, seed=99, long=0)
    junk = rows(shift=25.0, text=-0.005, wrong=-0.005, cycling=0.91, seed=1)
    good = rows(text=-0.01, wrong=-0.013, seed=3)
    for candidate in (junk, good):
        decision = decide(candidate, champion, blind, find_protocol("tiny"), GATE)
        assert decision.verdict == "cannot-judge" and not decision.promote
        assert decision.reason.startswith("CLIP does not know what the reference clips show")
        contrast = next(seen for seen in decision.comparisons if seen.name == "text_contrast")
        assert (
            not contrast.passes and contrast.real is not None and contrast.real.low < 0 < contrast.real.high
        )


@pytest.mark.parametrize("constant", [-0.4, 0.0, 0.2])
def test_the_same_with_a_clip_that_knows_them_whatever_it_adds_to_all_cosines(constant: float) -> None:
    real = rows(text=0.27 + constant, wrong=constant, seed=99, long=0)
    junk = rows(shift=25.0, text=constant, wrong=constant, cycling=0.91, seed=1)
    sound = rows(text=0.25 + constant, wrong=constant, seed=3)
    for champion in (None, rows(shift=30.0, text=constant, wrong=constant, seed=2)):
        assert decide(junk, champion, real, find_protocol("tiny"), GATE).verdict == "refuse"
        assert decide(sound, champion, real, find_protocol("tiny"), GATE).verdict == "promote"


@pytest.mark.parametrize(
    ("junk", "named"),
    [
        ({"text": 0.29, "wrong": 0.29}, "text_contrast"),
        ({"text": 0.05}, "text_score"),
        ({"cycling": 0.91}, "cycling"),
        ({"shift": 25.0}, "fvd"),
    ],
)
def test_junk_is_refused_with_and_without_a_champion(junk: dict, named: str) -> None:
    for champion in (None, rows(shift=30.0, text=0.05, cycling=0.95, seed=2)):
        decision = decided(rows(seed=1, **junk), champion)
        assert decision.verdict == "refuse" and named in decision.reason
    frozen = replace(rows(seed=1), frozen_n=np.ones(40))
    assert "stands still: frozen" in decided(frozen, None).reason


def test_a_champion_of_before_the_gate_asked_about_wrong_captions_can_still_be_beaten() -> None:
    none = {"clip_video_nd": np.zeros((40, 0)), "clip_text_nd": np.zeros((40, 0)), "caption_n": np.zeros(40)}
    old = replace(rows(shift=2.0, seed=2), **none)
    assert decided(rows(shift=0.5, seed=1), old).promote
    decision = decided(old, rows(shift=3.0, seed=1))
    assert decision.verdict == "cannot-judge" and "older version" in decision.reason


@given(constant=st.floats(-0.5, 0.5), captions=st.integers(2, 12), seed=st.integers(0, 99))
def test_a_contrast_is_the_mean_over_all_wrong_pairs(constant: float, captions: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    caption_n = rng.integers(0, captions, 12)
    caption_n[:2] = 0, 1
    text_cd = rng.standard_normal((captions, 5))
    video_nd = rng.standard_normal((12, 5))
    cosines = video_nd @ text_cd[caption_n].T
    wrong = caption_n[:, None] != caption_n[None]
    expected = np.trace(cosines) / 12 - cosines[wrong].mean()
    assert text_contrast(video_nd, text_cd[caption_n], caption_n) == pytest.approx(expected)
    # A constant in every cosine: a coordinate more, in which all texts and videos agree.
    more = np.full((12, 1), constant), np.ones((12, 1))
    shifted = np.hstack([video_nd, more[0]]), np.hstack([text_cd[caption_n], more[1]])
    assert text_contrast(*shifted, caption_n) == pytest.approx(expected)


def test_reasons_are_one_sentence() -> None:
    for candidate in (rows(), rows(text=0.1), rows(shift=1.0), rows(cycling=0.5, seed=1)):
        for champion in (None, rows(shift=0.5), rows(shift=3.0, seed=4)):
            reason = decided(candidate, champion).reason
            assert "\n" not in reason and reason[0].isupper() and reason.endswith(".")


@pytest.mark.parametrize("n", [1, 2, 3])
def test_of_too_few_videos_there_is_no_distance_and_no_error(n: int) -> None:
    """A jackknife leaves one out, and a covariance takes two: an evaluation of two videos must not end in it."""
    few, real = rows(n, long=0), rows(40, seed=1, long=0)
    found = reported_metrics(few, real, TINY)
    assert ("fvd" in found, "kvd" in found) == (n > 2, n > 2)
    assert set(too_few_videos(found, has_i3d=True)) == ({"fvd"} if n < 3 else set())
    assert too_few_videos(found, has_i3d=False) == {}
    assert "fvd" not in reported_metrics(real, few, TINY) or n > 2


def test_names_carry_protocol_and_number() -> None:
    score = ReportedMetric(Estimate(0.3, 0.2, 0.4, 0.05, 20), 48, "tiny")
    real = ReportedMetric(Estimate(0.5, 0.2, 0.6, 0.05, 20), 48, "tiny")
    named = named_metrics({"text_score": score, "seam_boundary": replace(score, n=4)}, {"text_score": real})
    assert named["text_score.tiny.n48"] == 0.3 and named["text_score.tiny.n48.low"] == 0.2
    assert named["seam_boundary.tiny.n4.high"] == 0.4 and named["text_score_reference.tiny.n48"] == 0.5
