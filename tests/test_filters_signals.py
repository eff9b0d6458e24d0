"""Signals tell still, normal, jumpy, frozen and black clips apart, drawn and real ones, at any size."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as checks
from hypothesis import strategies as st

from tasks.clips.collecting import frames_at
from tasks.filters.signals import FINGERPRINT_BYTES, ClipSignals, clip_signals
from tasks.tiny.world.drawing import Scene, draw_clip


def moving(seed: int = 0, size: int = 64, num_frames: int = 8) -> np.ndarray:
    return draw_clip(Scene("white", "circle", "left"), np.random.default_rng(seed), num_frames, size)


def film_signals(path: Path, start_s: float) -> ClipSignals:
    """Signals of the 8 frames at 4 fps that begin nearest to a time."""
    (taken,) = frames_at(str(path), [start_s + np.arange(8) / 4], 128, 128)
    return clip_signals(taken.frames_nhwc)


def test_still_normal_and_jumpy_clips_differ() -> None:
    normal = moving()
    still = np.repeat(normal[3:4], 8, axis=0)
    cut = np.concatenate([np.repeat(normal[:1], 4, axis=0), 255 - np.repeat(normal[:1], 4, axis=0)])
    flicker = np.where(np.arange(8)[:, None, None, None] % 2, 255 - normal, normal).astype(np.uint8)
    signals = [clip_signals(frames_nhwc) for frames_nhwc in (still, normal, cut, flicker)]
    assert signals[0].motion == 0 and 2 < signals[1].motion < 10 and signals[3].motion > 50
    assert [round(s.frozen, 2) for s in signals] == [1, 0, 0.86, 0]
    assert signals[0].jump == 1 and signals[1].jump < 1.1 and signals[3].jump < 2
    assert signals[2].jump > 20


def test_real_films(shared_dir: Path) -> None:
    videos = shared_dir / "media" / "videos"
    slides = film_signals(videos / "video2dataset_test_video.mp4", 0.5)
    assert slides.motion < 0.05 and slides.frozen == 1 and slides.jump < 1.1
    locked = film_signals(videos / "torchcodec_nasa_13013.mp4", 1.8)
    assert 0.1 < locked.motion < 1 and locked.frozen == 0 and locked.jump < 2
    cut = film_signals(videos / "torchcodec_nasa_13013.mp4", 7.0)
    assert cut.jump > 10
    for start_s in (0.5, 2.0):
        talking = film_signals(videos / "carphone_pristine.mp4", start_s)
        assert 3 < talking.motion < 20 and talking.frozen == 0 and talking.jump < 4


def test_repeated_frames_are_the_frozen_share() -> None:
    frames_nhwc = moving(num_frames=4)
    doubled = clip_signals(np.repeat(frames_nhwc, 2, axis=0))
    assert doubled.frozen == pytest.approx(4 / 7) and doubled.motion > 1
    noise = np.random.default_rng(0).normal(0, 1, (8, 64, 64, 3))
    coded = np.clip(np.repeat(frames_nhwc[:1], 8, axis=0) + noise, 0, 255).astype(np.uint8)
    assert clip_signals(coded).frozen == 1


def test_black_is_found_and_night_is_not(shared_dir: Path) -> None:
    black = np.random.default_rng(0).integers(0, 17, (8, 64, 64, 3), dtype=np.uint8)
    assert clip_signals(black).brightness < 16
    flash = black.copy()
    flash[4] = 255
    lamp = black.copy()
    lamp[:, 20:36, 20:36] = 200  # a sixteenth of the frame
    assert clip_signals(flash).brightness < 48 < 150 < clip_signals(lamp).brightness
    stars = cv2.imread(str(shared_dir / "media" / "images" / "hubble_deep_field.jpg"))[None, :, :, ::-1]
    assert stars.mean() < 32 < clip_signals(stars).brightness


def test_the_fingerprint_is_the_block_means_of_three_frames() -> None:
    frames_nhwc = np.random.default_rng(0).integers(0, 256, (7, 64, 64, 3), dtype=np.uint8)
    signals = clip_signals(frames_nhwc)
    blocks = frames_nhwc[[0, 3, 6]].reshape(3, 8, 8, 8, 8, 3).mean(axis=(2, 4))
    found = np.frombuffer(signals.fingerprint, np.uint8).reshape(3, 8, 8, 3)
    assert len(signals.fingerprint) == FINGERPRINT_BYTES
    np.testing.assert_allclose(found, blocks, atol=0.51)


@checks(deadline=None, max_examples=30)  # a busy machine is no failure
@given(st.integers(1, 9), st.integers(8, 90), st.integers(8, 90), st.integers(0, 2**32 - 1))
def test_any_shape_gives_numbers_in_range(n: int, height: int, width: int, seed: int) -> None:
    frames_nhwc = np.random.default_rng(seed).integers(0, 256, (n, height, width, 3), dtype=np.uint8)
    signals = clip_signals(frames_nhwc)
    assert 0 <= signals.motion <= 255 and 0 <= signals.brightness <= 255 and 0 <= signals.frozen <= 1
    assert signals.jump >= 1
    assert all(number == np.float32(number) for number in (signals.motion, signals.jump, signals.frozen))
    if n == 1:
        assert (signals.motion, signals.jump, signals.frozen) == (0, 1, 0)


def test_the_size_of_a_clip_hardly_matters() -> None:
    small, large = clip_signals(moving(size=64)), clip_signals(moving(size=256))
    assert large.motion == pytest.approx(small.motion, rel=0.05)
    assert large.brightness == pytest.approx(small.brightness, rel=0.05)
