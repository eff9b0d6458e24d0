"""Sampling: clips lie inside the video, in order, evenly, and follow time rather than frame numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as checks
from hypothesis import strategies as st

from tasks.clips.sampling import TIE_S, TIME_TOLERANCE_S, NearestFrames, plan_starts, spread, starts_that_fit

steps = st.lists(st.floats(0.001, 0.5), max_size=200)


def _picked(times_s: list[float], instants_s: list[float]) -> list[int]:
    """Numbers of the frames taken for the instants, from a stream of frames at these times."""
    picker: NearestFrames[int] = NearestFrames(instants_s)
    taken = [number for index, time_s in enumerate(times_s) for number in picker.push(time_s, index)]
    return [*taken, *picker.finish()]


def _planned(times_s: list[float], num_frames: int, fps: float, count: int = 1) -> list[list[int]]:
    starts_s = plan_starts(times_s, num_frames, fps, count)
    return [_picked(times_s, [start_s + k / fps for k in range(num_frames)]) for start_s in starts_s]


@checks(deadline=None)  # a busy machine is no failure
@given(steps, st.integers(1, 32), st.floats(1, 60), st.integers(1, 8), st.floats(-5, 100))
def test_clips_are_in_range_and_in_order(
    steps_s: list[float], num_frames: int, fps: float, count: int, first_s: float
) -> None:
    times = first_s + np.cumsum([0.0, *steps_s])
    span_s = (num_frames - 1) / fps
    starts = plan_starts(times.tolist(), num_frames, fps, count)
    assert bool(starts) == (times[-1] - times[0] >= span_s - TIME_TOLERANCE_S)
    assert len(starts) <= count and starts == sorted(set(starts)) and set(starts) <= set(times)
    for start_s in starts:
        instants = start_s + np.arange(num_frames) / fps
        indices = np.array(_picked(times.tolist(), instants.tolist()))
        assert len(indices) == num_frames and times[indices[0]] == start_s
        assert np.all(np.diff(indices) >= 0)
        # No other frame is nearer to the instant than the one taken.
        nearest_s = np.abs(times[None, :] - instants[:, None]).min(axis=1)
        assert np.all(np.abs(times[indices] - instants) <= nearest_s + TIE_S)


@checks(deadline=None)  # a busy machine is no failure
@given(st.integers(8, 60), st.sampled_from([8.0, 12.0, 25.0, 30.0]))
def test_at_its_own_rate_a_video_gives_consecutive_frames_from_its_middle(length: int, fps: float) -> None:
    (indices,) = _planned([i / fps for i in range(length)], 8, fps)
    assert np.all(np.diff(indices) == 1)
    before, after = indices[0], length - 1 - indices[-1]
    assert abs(before - after) <= 1


@checks(deadline=None)  # a busy machine is no failure
@given(steps, st.integers(1, 32), st.floats(1, 60), st.integers(1, 8))
def test_starts_fit_exactly_where_the_clip_ends_in_the_video(
    steps_s: list[float], num_frames: int, fps: float, count: int
) -> None:
    times = np.cumsum([0.0, *steps_s])
    overhang_s = times + (num_frames - 1) / fps - times[-1] - TIME_TOLERANCE_S
    fitting = set(starts_that_fit(times.tolist(), num_frames, fps).tolist())
    assert set(times[overhang_s < -1e-9]) <= fitting <= set(times[overhang_s < 1e-9])
    assert set(plan_starts(times.tolist(), num_frames, fps, count)) <= fitting


def test_a_slow_video_repeats_frames_and_a_fast_one_skips_them() -> None:
    (slow,) = _planned([i / 4 for i in range(5)], 8, 8.0)
    assert len(set(slow)) < 8
    (fast,) = _planned([i / 24 for i in range(48)], 8, 8.0)
    assert set(np.diff(fast)) == {3}


def test_several_clips_spread_evenly() -> None:
    assert [indices[0] for indices in _planned([i / 8 for i in range(80)], 8, 8.0, 3)] == [12, 36, 60]


@given(st.integers(0, 300), st.integers(1, 20))
def test_positions_are_spread_over_all_there_are(available: int, count: int) -> None:
    positions = spread(available, count)
    assert len(positions) == min(available, count) or len(positions) < count <= available * 2
    assert positions == sorted(set(positions)) and all(0 <= position < available for position in positions)
    if available > 2 * count:
        assert len(positions) == count and np.ptp(np.diff(positions)) <= 1 if count > 1 else True
        assert abs(positions[0] - (available - 1 - positions[-1])) <= 1


def test_variable_frame_rate_goes_by_time() -> None:
    # One second at 30 fps, then one at 5: the instants are a fifth of a second apart all the same.
    times = [*np.arange(30) / 30, *(1 + np.arange(6) / 5)]
    assert _planned(times, 11, 5.0) == [[0, 6, 12, 18, 24, 30, 31, 32, 33, 34, 35]]


def test_of_two_equally_near_frames_the_earlier_is_taken() -> None:
    assert _picked([0.0, 0.1, 0.2], [0.05, 0.15 + 1e-9]) == [0, 1]


def test_instants_after_the_last_frame_have_no_frame() -> None:
    assert _picked([0.0, 0.1], [0.0, 0.1 + TIME_TOLERANCE_S / 2, 0.11]) == [0, 1]
    assert _picked([], [0.0]) == []


@pytest.mark.parametrize("count", [1, 3])
def test_a_video_of_exactly_a_clip_s_length_gives_it_once(count: int) -> None:
    assert _planned([i / 8 for i in range(8)], 8, 8.0, count) == [list(range(8))]
