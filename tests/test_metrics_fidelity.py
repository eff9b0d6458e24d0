"""Blur over time, noise and still errors are planted in true videos: each shows in its own number."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.tiny.world.drawing import draw_clip, random_scene
from vidrd_model.metrics import edge_sharpness, flicker, moving_edges, psnr_db
from vidrd_model.metrics.fidelity import PSNR_CAP_DB


def moving_clip(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return draw_clip(random_scene(rng), rng).astype(np.float32)


def blurred_over_time(frames_thwc: np.ndarray) -> np.ndarray:
    padded = np.concatenate([frames_thwc[:1], frames_thwc, frames_thwc[-1:]])
    return (padded[:-2] + padded[1:-1] + padded[2:]) / 3


def test_a_video_is_true_to_itself():
    frames = moving_clip(0).astype(np.uint8)
    assert flicker(frames, frames) == 0
    assert psnr_db(frames, frames) == pytest.approx(PSNR_CAP_DB)
    assert edge_sharpness(frames, frames) == 1


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_blur_over_time_shows_on_moving_edges(seed):
    true = moving_clip(seed)
    blurred = blurred_over_time(true)
    assert edge_sharpness(blurred, true) < 0.7
    assert flicker(blurred, true) > 0.5
    assert psnr_db(blurred, true) < 35


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.floats(2, 15))
def test_blur_that_takes_away_noise_does_not_win(seed, spread):
    """Less noise in the flat ground is what blur over time is good for; the edges pay for it."""
    true = moving_clip(seed)
    noisy = true + np.random.default_rng(seed).normal(0, spread, true.shape)
    blurred = blurred_over_time(noisy)
    still = np.ptp(true, axis=0).max(axis=-1) == 0
    ground = [frames[:, still][:, None] for frames in (blurred, noisy, true)]
    assert flicker(ground[0], ground[2]) < flicker(ground[1], ground[2])
    assert edge_sharpness(blurred, true) < 0.8 * edge_sharpness(noisy, true)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.floats(1, 20))
def test_noise_of_each_frame_is_flicker_of_a_known_size(seed, spread):
    true = moving_clip(seed)
    noisy = true + np.random.default_rng(seed).normal(0, spread, true.shape)
    # The difference of two independent errors has the spread sqrt(2) s, its absolute value the mean 2 s / sqrt(pi).
    assert flicker(noisy, true) == pytest.approx(2 * spread / np.sqrt(np.pi), rel=0.02)
    assert psnr_db(noisy, true) == pytest.approx(20 * np.log10(255 / spread), abs=0.1)
    assert edge_sharpness(noisy, true) > 1 - 0.02 / spread  # much noise adds gradients, little of it none


def test_a_still_error_costs_psnr_and_does_not_flicker():
    true = moving_clip(3)
    tinted = true + np.random.default_rng(0).normal(0, 5, true.shape[1:]).astype(np.float32)
    assert flicker(tinted, true) == pytest.approx(0, abs=1e-4)
    assert psnr_db(tinted, true) < 36


def test_edges_that_stand_still_and_flat_moves_are_no_moving_edges():
    frames = np.zeros((3, 16, 16, 1), np.float32)
    frames[:, :, 4:] = 100  # an edge that stands still
    assert not moving_edges(frames).any()
    assert edge_sharpness(frames, frames) is None
    lights = np.zeros((3, 16, 16, 1), np.float32) + np.array([0, 50, 100]).reshape(3, 1, 1, 1)
    assert not moving_edges(lights).any()
    frames[1, 6:10, 10:12] = 0
    moved = moving_edges(frames)
    assert moved[0].sum() == 0  # the change is there, the edge not yet
    assert moved[1, 6:10, 10:12].all() and not moved[:, :4].any()


def test_what_cannot_be_compared_is_refused():
    frames = moving_clip(0)
    with pytest.raises(ValueError, match="one shape"):
        flicker(frames, frames[:4])
    with pytest.raises(ValueError, match="one shape"):
        psnr_db(frames[0], frames[0])
    with pytest.raises(ValueError, match="two frames"):
        flicker(frames[:1], frames[:1])
    with pytest.raises(ValueError, match="2 and more"):
        edge_sharpness(frames[:1], frames[:1])
