"""Sampling: windows lie inside the video, in order, evenly, and follow time rather than frame numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as checks
from hypothesis import strategies as st

from tasks.clips.sampling import TIME_TOLERANCE_S, collect_frames, plan_windows
from tasks.errors import ItemError

steps = st.lists(st.floats(0.001, 0.5), max_size=200)


@checks(deadline=None)  # a busy machine is no failure
@given(steps, st.integers(1, 32), st.floats(1, 60), st.integers(1, 8), st.floats(-5, 100))
def test_windows_are_in_range_and_in_order(
    steps_s: list[float], num_frames: int, fps: float, count: int, first_s: float
) -> None:
    times = first_s + np.cumsum([0.0, *steps_s])
    span_s = (num_frames - 1) / fps
    windows = plan_windows(times.tolist(), num_frames, fps, count)
    assert bool(windows) == (times[-1] - times[0] >= span_s - TIME_TOLERANCE_S)
    assert len(windows) <= count
    starts = [window.start_s for window in windows]
    assert starts == sorted(set(starts))
    for window in windows:
        indices = np.array(window.indices)
        assert len(indices) == num_frames and indices[0] >= 0 and indices[-1] < len(times)
        assert np.all(np.diff(indices) >= 0)
        assert window.start_s == times[indices[0]]
        # No other frame is nearer to the instant than the one taken.
        instants = window.start_s + np.arange(num_frames) / fps
        nearest_s = np.abs(times[None, :] - instants[:, None]).min(axis=1)
        assert np.all(np.abs(times[indices] - instants) <= nearest_s + 2e-6)


@checks(deadline=None)  # a busy machine is no failure
@given(st.integers(8, 60), st.sampled_from([8.0, 12.0, 25.0, 30.0]))
def test_at_its_own_rate_a_video_gives_consecutive_frames_from_its_middle(length: int, fps: float) -> None:
    (window,) = plan_windows([i / fps for i in range(length)], 8, fps, 1)
    assert np.all(np.diff(window.indices) == 1)
    before, after = window.indices[0], length - 1 - window.indices[-1]
    assert abs(before - after) <= 1


def test_a_slow_video_repeats_frames_and_a_fast_one_skips_them() -> None:
    (slow,) = plan_windows([i / 4 for i in range(5)], 8, 8.0, 1)
    assert len(set(slow.indices)) < 8
    (fast,) = plan_windows([i / 24 for i in range(48)], 8, 8.0, 1)
    assert set(np.diff(fast.indices)) == {3}


def test_several_windows_spread_evenly() -> None:
    windows = plan_windows([i / 8 for i in range(80)], 8, 8.0, 3)
    assert [window.indices[0] for window in windows] == [12, 36, 60]


def test_variable_frame_rate_goes_by_time() -> None:
    # One second at 30 fps, then one at 5: the instants are a fifth of a second apart all the same.
    times = [*np.arange(30) / 30, *(1 + np.arange(6) / 5)]
    (window,) = plan_windows(times, 11, 5.0, 1)
    assert window.indices == (0, 6, 12, 18, 24, 30, 31, 32, 33, 34, 35)


@checks(deadline=None)  # a busy machine is no failure
@given(steps.filter(len), st.data())
def test_collecting_from_a_stream_gives_the_frames_planned(steps_s: list[float], data: st.DataObject) -> None:
    times = np.cumsum(np.maximum(steps_s, 0.005)).tolist()
    wanted = sorted(data.draw(st.sets(st.integers(0, len(times) - 1), min_size=1)))
    stream = ((time_s, np.array(i)) for i, time_s in enumerate(times))
    picked = collect_frames(stream, [times[i] for i in wanted], "video")
    assert [int(frame) for frame in picked] == wanted


def test_a_stream_that_ends_early_is_an_item_error() -> None:
    stream = [(0.0, np.zeros(1)), (0.1, np.zeros(1))]
    with pytest.raises(ItemError, match=r"v\.mp4: ends at 0\.10 s") as caught:
        collect_frames(stream, [0.0, 0.5], "v.mp4")
    assert caught.value.stage == "decode"
    with pytest.raises(ItemError, match="before its first frame"):
        collect_frames([], [0.0], "v.mp4")
