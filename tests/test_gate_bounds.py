"""Every bound of the gate lies where it says: what reaches it passes, and what lies a hair beyond it does not.

Candidate and champion are the same videos but for one column, moved by the same amount everywhere, so that chance has
no part in their difference.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.evaluation.features import VideoFeatures
from tasks.evaluation.gate import decide
from tasks.evaluation.protocols import find_protocol
from tasks.evaluation.settings import GateSettings
from tasks.evaluation.verdict import Decision
from tests.evaluation_rows import rows

REAL = rows(text=0.32, seed=99, long=0)
CHAMPION = rows(shift=2.0, seed=2, cycling=0.3)
HAIR = 1e-6


def decided(
    candidate: VideoFeatures, champion: VideoFeatures | None, gate: GateSettings | None = None
) -> Decision:
    return decide(candidate, champion, REAL, find_protocol("tiny"), gate or GateSettings())


def better_with(column: str, by: float | np.ndarray) -> VideoFeatures:
    """The champion's videos with a surely better FVD, and one other column moved."""
    better = replace(CHAMPION, i3d_nwd=rows(shift=0.5, seed=1).i3d_nwd)
    values = getattr(CHAMPION, column).astype(np.float64)
    return replace(better, **{column: values + (by if values.ndim == 1 else np.reshape(by, (-1, 1)))})


@settings(max_examples=30, deadline=None)
@given(
    signature=st.sampled_from(["cycling_n", "seam_boundary_n", "seam_guided_to_free_n"]),
    margin=st.floats(0.001, 0.15),
    way=st.sampled_from([-1.0, 0.0, 0.5, 1.0 - HAIR, 1.0 + HAIR, 3.0]),
)
def test_a_signature_may_rise_by_its_margin_and_no_more(signature: str, margin: float, way: float) -> None:
    decision = decided(
        better_with(signature, way * margin), CHAMPION, GateSettings(signature_margin=margin, seam_ceiling=99)
    )
    name = signature.removesuffix("_n")
    (seen,) = [one for one in decision.comparisons if (one.name, one.role) == (name, "signature")]
    assert seen.passes is (way <= 1) and seen.difference is not None
    assert seen.difference.value == pytest.approx(way * margin, abs=1e-9)
    if way > 1:
        assert decision.verdict == "refuse"
        assert decision.reason == seen.says and f"{name} worsens" in decision.reason
    else:
        assert seen.says == ""
        assert decision.promote


@settings(max_examples=30, deadline=None)
@given(share=st.floats(0.01, 0.2), way=st.sampled_from([-3.0, 0.0, 0.5, 1.0 - HAIR, 1.0 + HAIR, 1.5]))
def test_the_text_score_may_fall_by_its_share_of_the_real_clips_and_no_more(share: float, way: float) -> None:
    """It is a share of their score, which is larger than the contrast here."""
    real = float(REAL.text_score_nw.mean())
    candidate = better_with("text_score_nw", -way * share * real)
    decision = decided(candidate, CHAMPION, GateSettings(text_score_margin=share, text_score_share=0.0))
    (seen,) = [one for one in decision.comparisons if (one.name, one.role) == ("text_score", "signature")]
    assert seen.passes is (way <= 1)
    assert decision.promote is (way <= 1)


def test_a_rise_that_may_be_chance_costs_nothing() -> None:
    """Its mean is beyond the margin, and so far apart from video to video that it may as well be none."""
    up_and_down = 0.03 + np.where(np.arange(len(CHAMPION)) % 2, 0.5, -0.5)
    decision = decided(better_with("seam_boundary_n", up_and_down), CHAMPION)
    (seen,) = [one for one in decision.comparisons if (one.name, one.role) == ("seam_boundary", "signature")]
    assert seen.difference is not None and seen.difference.value > GateSettings().signature_margin
    assert decision.promote


@pytest.mark.parametrize("way", ["below", "above"])
def test_the_reason_names_the_way_that_is_better(way: str) -> None:
    if way == "below":
        decision = decided(better_with("cycling_n", 0.0), CHAMPION)
    else:  # without I3D a text score decides
        without = replace(CHAMPION, i3d_nwd=CHAMPION.i3d_nwd[:, :, :0])
        real = replace(REAL, i3d_nwd=REAL.i3d_nwd[:, :, :0])
        higher = replace(without, text_score_nw=without.text_score_nw + 0.01)
        decision = decide(higher, without, real, find_protocol("tiny"), GateSettings())
    assert decision.promote and f"is surely {way} the champion's" in decision.reason


def reported(decision: Decision, name: str, whose: str = "candidate") -> float:
    """What the decision says of a metric, of the candidate or the real clips."""
    seen = next(one for one in decision.comparisons if one.name == name)
    return float(getattr(seen, whose).value)


@pytest.mark.parametrize(
    ("name", "candidate"), [("text_score", rows(wrong=0.0)), ("text_contrast", rows(text=0.33, wrong=0.1))]
)
def test_the_floor_of_the_text_is_a_share_of_what_the_real_clips_score(
    name: str, candidate: VideoFeatures
) -> None:
    decision = decided(candidate, None)
    share = reported(decision, name) / reported(decision, name, "real")
    assert 0.8 < share < 1
    passed, refused = (
        decided(candidate, None, GateSettings(text_score_share=share + by)) for by in (-HAIR, HAIR)
    )
    assert passed.promote and refused.verdict == "refuse"
    assert f"{name} {reported(decision, name):.4f} is below the floor" in refused.reason


def test_no_more_may_stand_still_than_of_the_real_clips_and_a_bit() -> None:
    candidate = replace(rows(), frozen_n=rows().frozen_n + 0.1)
    beyond = candidate.frozen_n.mean() - REAL.frozen_n.mean()
    passed, refused = (
        decided(candidate, None, GateSettings(frozen_ceiling=beyond + by)) for by in (HAIR, -HAIR)
    )
    assert passed.promote and "stands still" in refused.reason


def test_the_ceiling_of_cycling_is_the_setting() -> None:
    value = float(np.nanmean(rows().cycling_n))
    passed, refused = (
        decided(rows(), None, GateSettings(cycling_ceiling=value + by)) for by in (HAIR, -HAIR)
    )
    assert passed.promote and "repeats its earlier clips" in refused.reason


@pytest.mark.parametrize("seam", ["seam_boundary", "seam_guided_to_free"])
def test_the_ceiling_of_seams_is_that_of_each_of_them(seam: str) -> None:
    candidate = replace(rows(), **{f"{seam}_n": getattr(rows(), f"{seam}_n") + 2.0})
    value = float(np.nanmean(getattr(candidate, f"{seam}_n")))
    passed, refused = (
        decided(candidate, None, GateSettings(seam_ceiling=value + by)) for by in (1e-4, -1e-4)
    )
    assert passed.promote and refused.verdict == "refuse" and seam in refused.reason


def test_the_ceiling_of_fvd_is_in_the_real_clips_own_spread() -> None:
    candidate = rows(shift=1.0, seed=1)
    seen = next(one for one in decided(candidate, None).comparisons if one.name == "fvd")
    spread = np.trace(np.cov(REAL.i3d_nwd[:, 0].astype(np.float64), rowvar=False))
    at = seen.candidate.value / spread
    passed, refused = (decided(candidate, None, GateSettings(fvd_ceiling=at * by)) for by in (1.001, 0.999))
    assert passed.promote and refused.verdict == "refuse" and "unlike the reference clips" in refused.reason
