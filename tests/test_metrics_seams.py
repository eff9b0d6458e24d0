"""Planted jumps, pauses and frozen videos show in the seam ratios and the motion amount."""

import numpy as np
import pytest

from tasks.tiny.world.drawing import Scene, draw_clip
from vidrd_model.metrics import frame_steps, motion_amount, seam_ratios

N, M = 8, 4


@pytest.fixture
def smooth() -> np.ndarray:
    """24 frames of steady motion, as if three clips met without a seam."""
    frames_px = np.zeros((3 * N, 64, 64, 3), np.uint8)
    for index, frame in enumerate(frames_px):
        frame[20:30, index * 2 : index * 2 + 10] = 200
    return frames_px


def test_steady_motion_has_no_seam(smooth: np.ndarray) -> None:
    ratios = seam_ratios(smooth, N, M)
    assert ratios is not None
    assert ratios.boundary == pytest.approx(1, abs=0.05)
    assert ratios.guided_to_free == pytest.approx(1, abs=0.05)


def test_a_jump_at_the_boundary_shows_there_only(smooth: np.ndarray) -> None:
    jumped = smooth.copy()
    jumped[2 * N :] = 255 - jumped[2 * N :]
    ratios = seam_ratios(jumped, N, M)
    assert ratios is not None
    assert ratios.boundary > 10
    assert ratios.guided_to_free == pytest.approx(1, abs=0.05)


def test_a_jump_after_the_guided_frames_shows_there_only(smooth: np.ndarray) -> None:
    jumped = smooth.copy()
    jumped[N + M : 2 * N] = np.roll(jumped[N + M : 2 * N], 25, axis=1)
    jumped[2 * N :] = np.roll(jumped[2 * N :], 25, axis=1)
    ratios = seam_ratios(jumped, N, M)
    assert ratios is not None
    assert ratios.guided_to_free > 2
    assert ratios.boundary == pytest.approx(1, abs=0.05)


def test_a_repeated_frame_is_a_pause(smooth: np.ndarray) -> None:
    smooth[N] = smooth[N - 1]
    smooth[2 * N] = smooth[2 * N - 1]
    ratios = seam_ratios(smooth, N, M)
    assert ratios is not None
    assert ratios.boundary == 0


def test_a_jump_in_a_frozen_video_is_huge_and_none_is_nothing() -> None:
    frozen = np.full((2 * N, 8, 8, 3), 90, np.uint8)
    still = seam_ratios(frozen, N, M)
    assert still is not None and still.boundary == 0
    frozen[N:] += 20
    jumped = seam_ratios(frozen, N, M)
    assert jumped is not None and jumped.boundary > 1000


@pytest.mark.parametrize("prompt_frames", [0, N])
def test_without_free_or_guided_frames_only_the_boundary_counts(
    smooth: np.ndarray, prompt_frames: int
) -> None:
    ratios = seam_ratios(smooth, N, prompt_frames)
    assert ratios is not None
    assert ratios.guided_to_free == 0


def test_one_clip_has_no_seam_and_half_a_clip_is_refused(smooth: np.ndarray) -> None:
    assert seam_ratios(smooth[:N], N, M) is None
    with pytest.raises(ValueError, match="not whole clips"):
        seam_ratios(smooth[: N + 3], N, M)


def test_motion_of_a_moving_and_a_frozen_clip() -> None:
    moving = draw_clip(Scene("red", "circle", "right"), np.random.default_rng(0))
    assert motion_amount(moving) > 1
    assert motion_amount(np.repeat(moving[:1], 8, axis=0)) == 0
    assert frame_steps(np.array([0, 3, 255], np.uint8).reshape(3, 1, 1, 1)).tolist() == [3, 252]
    with pytest.raises(ValueError, match="two frames"):
        frame_steps(moving[:1])
