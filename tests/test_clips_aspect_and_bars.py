"""Pixels are square in clips whatever they are in files, and black bars around a picture are measured."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as checks
from hypothesis import strategies as st

from tasks.clips.video_io import encode
from tasks.filters.bars import picture_part
from tasks.filters.settings import FilterSettings
from tasks.filters.signals import clip_signals
from tests.field_media import VIDEO_KINDS, clips_in
from tests.night_scenes import BOXES, FILMS, boxed, drawn_nights, film, through_a_codec

WIDTH, HEIGHT = 96, 64
CONTAINERS = {f"film.{suffix}": "libx264" for suffix in ("mp4", "mkv", "mov", "ts")} | {
    "film.mpg": "mpeg2video"
}


def _anamorphic(path: Path, codec: str, aspect: Fraction) -> None:
    """A film of one disc that is round once its pixels are square."""
    centre, radius_px = (WIDTH // 2, HEIGHT // 2), 16
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    cv2.ellipse(picture, centre, (round(radius_px / aspect), radius_px), 0, 0, 360, (255, 255, 255), -1)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25, options={"crf": "5"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.sample_aspect_ratio = aspect
        for index in range(50):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.mark.parametrize("kind", VIDEO_KINDS)
@pytest.mark.parametrize("aspect", [Fraction(4, 3), Fraction(2), Fraction(2, 3)])
@pytest.mark.parametrize("name", CONTAINERS)
def test_a_disc_is_round(tmp_path: Path, name: str, aspect: Fraction, kind: str) -> None:
    codec = CONTAINERS[name]
    if codec == "mpeg2video":
        # MPEG-2 has three shapes of its own: 4:3, 16:9 and 2.21:1 of the whole picture.
        aspect = Fraction(16, 9) * HEIGHT / WIDTH
    _anamorphic(tmp_path / name, codec, aspect)
    (clip,) = clips_in(tmp_path / name, kind)
    lit = np.argwhere(clip.frames_nhwc[3].mean(axis=2) > 128)
    height, width = lit.max(axis=0) - lit.min(axis=0) + 1
    assert abs(int(height) - int(width)) <= 2
    assert abs(clip.source_width / clip.source_height - float(aspect) * WIDTH / HEIGHT) < 0.03


def _scene(width: int, height: int, seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(40, 220, (8, 8, 3), np.uint8)
    return np.stack([cv2.resize(np.roll(coarse, shift, 1), (width, height)) for shift in range(4)])


@checks(max_examples=40, deadline=None)
@given(bars=st.tuples(*[st.sampled_from([0, 4, 10, 20])] * 4), seed=st.integers(0, 5))
def test_the_share_of_the_picture_is_measured(bars: tuple[int, int, int, int], seed: int) -> None:
    top, bottom, left, right = bars
    frames = np.zeros((4, 96, 128, 3), np.uint8)
    inner = _scene(128 - left - right, 96 - top - bottom, seed)
    frames[:, top : 96 - bottom, left : 128 - right] = inner
    noise = np.random.default_rng(seed).integers(0, 4, frames.shape, np.uint8)
    part = picture_part(np.maximum(frames, noise))
    assert part == pytest.approx(inner[0].size / frames[0].size, abs=0.03)


def test_dark_scenes_have_no_bars() -> None:
    assert picture_part(np.zeros((2, 64, 64, 3), np.uint8)) == 1.0
    night = np.zeros((2, 96, 96, 3), np.uint8)
    grain = np.random.default_rng(0).integers(0, 12, night.shape, np.uint8)
    shade = np.linspace(0, 60, 96).astype(np.uint8)[None, :, None, None]
    assert picture_part(night + grain) == 1.0
    assert picture_part(night + shade) > 0.97  # light that grows slowly
    lamp = night + grain
    cv2.circle(lamp[0], (48, 48), 3, (200, 200, 180), -1)
    cv2.circle(lamp[1], (48, 48), 3, (200, 200, 180), -1)
    assert picture_part(lamp) == 1.0


@pytest.mark.parametrize("crf", [18, 32])
def test_night_is_no_bar(shared_dir: Path, crf: int) -> None:
    films = shared_dir / "media/videos"
    scenes = drawn_nights()
    for name in FILMS:
        scenes |= {f"{name} {light}": film(films, name, light, 1.5) for light in (0.3, 0.15, 0.08)}
    parts = {name: picture_part(through_a_codec(frames, crf)) for name, frames in scenes.items()}
    assert {name: part for name, part in parts.items() if part < 0.98} == {}


@pytest.mark.parametrize("crf", [18, 32])
@pytest.mark.parametrize("box", BOXES)
def test_bars_around_dark_films_are_bars(shared_dir: Path, box: str, crf: int) -> None:
    wrong = {}
    for name in FILMS:
        for light in (1.0, 0.15):
            frames, wanted = boxed(film(shared_dir / "media/videos", name, light, 1.5), box)
            part = picture_part(through_a_codec(frames, crf))
            if abs(part - wanted) > 0.05:
                wrong[f"{name} {light}"] = part
    assert wrong == {}


@pytest.mark.parametrize("kind", VIDEO_KINDS)
def test_letterbox_and_pillarbox_stand_in_the_row_and_a_filter_refuses_them(
    tmp_path: Path, kind: str
) -> None:
    for name, box in (("letter", (slice(16, 80), slice(None))), ("pillar", (slice(None), slice(24, 104)))):
        frames = np.zeros((50, 96, 128, 3), np.uint8)
        inner = frames[:, box[0], box[1]]
        inner[:] = _scene(inner.shape[2], inner.shape[1])[0]
        path = tmp_path / f"{name}.mp4"
        encode(path, frames, 25.0, options={"crf": "18"})
        (clip,) = clips_in(path, kind, width=128, height=96)
        part = clip_signals(clip.frames_nhwc).picture
        assert part == pytest.approx(inner[0].size / frames[0].size, abs=0.04)
        row = {"kind": kind, "clip_score": 1.0, "picture": part, "interlaced": clip.interlaced}
        assert FilterSettings(min_picture=0.9).reject_reason(row) == "picture"
        assert FilterSettings(min_picture=0.5).reject_reason(row) is None


def test_interlaced_material_can_be_refused() -> None:
    row = {"kind": "short-videos", "clip_score": 1.0, "interlaced": 0.4}
    assert FilterSettings(max_interlaced=0.0).reject_reason(row) == "interlaced"
    assert FilterSettings(max_interlaced=0.0).reject_reason(row | {"interlaced": 0.0}) is None
    assert FilterSettings(max_interlaced=0.0).reject_reason(row | {"interlaced": None}) is None
