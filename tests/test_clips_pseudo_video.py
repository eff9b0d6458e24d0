"""Pseudo-videos: windows stay in the image, keep its subject and move; their parameters make them again."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as checks
from hypothesis import strategies as st
from PIL import Image

from tasks.clips.from_source import clips_of
from tasks.clips.images import read_image
from tasks.clips.settings import ClipSettings
from tasks.corpora.records import CaptionSpan, MediaPlace, SourceRecord, source_id
from tasks.errors import ItemError
from tasks.tiny.world.corpora import draw_framed_image
from tasks.tiny.world.drawing import draw_image, random_scene
from vidrd_model.pseudo_video import EASINGS, KINDS, Motion, draw_motion, ease, render

SHARED_MEDIA = Path(__file__).parents[1].parent / "shared/media"
sides = st.integers(8, 512)


def _source(path: Path, name: str = "image") -> SourceRecord:
    caption = (CaptionSpan("a thing"),)
    return SourceRecord(
        source_id("c", name), name, MediaPlace(str(path)), "c", "images", "CC0-1.0", caption, "given", 1, 1
    )


@checks(deadline=None)  # a busy machine is no failure
@given(
    st.integers(0, 2**32), st.tuples(sides, sides), st.integers(1, 32), st.integers(1, 32), st.floats(0.3, 1)
)
def test_windows_stay_inside_the_image_and_keep_the_aspect_ratio(
    seed: int, size: tuple[int, int], width_8: int, height_8: int, smallest: float
) -> None:
    motion = draw_motion(np.random.default_rng(seed), size, (8 * width_8, 8 * height_8), smallest)
    for left, top, right, bottom in (motion.start, motion.end):
        assert 0 <= left < right <= 1 and 0 <= top < bottom <= 1
        # Side lengths in pixels of the image, up to the five digits that are kept.
        width, height = (right - left) * size[0], (bottom - top) * size[1]
        assert width - height * width_8 / height_8 == pytest.approx(0, abs=3e-5 * (size[0] + size[1]) * 32)
        crop_width = min(size[0], size[1] * width_8 / height_8)
        assert width >= smallest * crop_width - 2e-5 * size[0]


@checks(deadline=None)  # a busy machine is no failure
@given(st.integers(0, 2**32))
def test_the_tiny_world_s_shapes_stay_in_view_and_move(seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = draw_framed_image(random_scene(rng, moving=False), rng)
    motion = draw_motion(rng, (96, 96), (64, 64))
    visible = []
    y, x = (np.nonzero(image.max(axis=2) > 120) + np.array([[0.5], [0.5]])) / 96
    for part in np.linspace(0, 1, 8):
        left, top, right, bottom = (1 - part) * np.array(motion.start) + part * np.array(motion.end)
        visible.append(np.mean((x > left) & (x < right) & (y > top) & (y < bottom)))
    assert min(visible) > 0.4 and np.mean(visible) > 0.6
    frames = render(Image.fromarray(image), motion, 8, 64, 64).astype(int)
    assert np.abs(frames[0] - frames[-1]).max() > 40


def test_a_still_window_is_the_image_and_a_smooth_pan_has_even_steps() -> None:
    ramp = np.broadcast_to(np.linspace(0, 255, 512)[None, :, None], (512, 512, 3)).astype(np.uint8)
    whole = (0.0, 0.0, 1.0, 1.0)
    assert np.array_equal(render(Image.fromarray(ramp), Motion("pan", whole, whole), 2, 512, 512)[1], ramp)
    pan = render(Image.fromarray(ramp), Motion("pan", (0.0, 0.1, 0.8, 0.9), (0.2, 0.1, 1.0, 0.9)), 9, 64, 64)
    means = pan.mean(axis=(1, 2, 3))
    assert np.allclose(np.diff(means), np.diff(means).mean(), atol=0.3)


def test_every_kind_and_easing_is_drawn_and_the_same_seed_gives_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    image = draw_image(random_scene(rng, moving=False), rng, 96)
    Image.fromarray(image).save(tmp_path / "image.png")
    settings = ClipSettings(clips_per_source=64)
    clips = list(clips_of(_source(tmp_path / "image.png"), settings))
    assert len({clip.clip_id for clip in clips}) == 64
    drawn = [json.loads(clip.params_json) for clip in clips]
    assert {parameters["kind"] for parameters in drawn} == set(KINDS)
    assert {parameters["easing"] for parameters in drawn} == set(EASINGS)
    twice = list(clips_of(_source(tmp_path / "image.png"), settings))
    assert [clip.clip_id for clip in clips] == [clip.clip_id for clip in twice]
    other = next(clips_of(_source(tmp_path / "image.png", "other"), settings))
    assert other.params_json != clips[0].params_json


def test_each_kind_moves_as_its_name_says() -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        motion = draw_motion(rng, (96, 80), (64, 64))
        start, end = np.array(motion.start), np.array(motion.end)
        growth = (end[2] - end[0]) - (start[2] - start[0])
        moved_x, moved_y = np.abs((end[:2] + end[2:] - start[:2] - start[2:]) / 2)
        if motion.kind == "pan":
            assert growth == pytest.approx(0, abs=2e-5) and max(moved_x, moved_y) > 0.04
        elif motion.kind == "diagonal":
            assert abs(growth) > 0.0 and min(moved_x, moved_y) > 0.04
        else:
            assert growth < 0 if motion.kind == "zoom-in" else growth > 0


@pytest.mark.parametrize("easing", EASINGS)
def test_easings_go_all_the_way_and_never_back(easing: str) -> None:
    way = ease(np.linspace(0, 1, 33), easing)
    assert way[0] == 0 and way[-1] == 1 and np.all(np.diff(way) > 0)
    first_half, second_half = way[16], 1 - way[16]
    expected = {"linear": 0, "ease-in": -1, "ease-out": 1, "ease-in-out": 0}[easing]
    assert np.sign(round(first_half - second_half, 9)) == expected
    steps = np.diff(way)
    assert (steps[0] < steps[16]) == (easing in ("ease-in", "ease-in-out"))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured(tmp_path: Path, orientation: int) -> None:
    upright = np.zeros((40, 60, 3), np.uint8)
    upright[:20, :30] = (255, 0, 0)
    upright[20:, 30:] = (0, 0, 255)
    # Pillow's constants say what a viewer does to the stored pixels; store the opposite.
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    image = Image.fromarray(upright)
    stored = image.transpose(undo[orientation]) if orientation in undo else image
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(np.asarray(read_image(tmp_path / "turned.png").picture), upright)


def test_transparency_shows_white_and_palettes_show_their_colours(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (10, 20, 30, 0)).save(tmp_path / "clear.png")
    assert (np.asarray(read_image(tmp_path / "clear.png").picture) == 255).all()
    Image.new("RGB", (4, 4), (200, 20, 30)).quantize().save(tmp_path / "palette.gif")
    assert (
        np.abs(np.asarray(read_image(tmp_path / "palette.gif").picture).astype(int) - [200, 20, 30]).max()
        <= 1
    )


def test_broken_images_are_item_errors(tmp_path: Path) -> None:
    whole = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(whole, "png")
    data = whole.getvalue()
    bomb = data[:16] + (60_000).to_bytes(4, "big") * 2 + data[24:]
    for content in (b"", b"This is no image.", data[: len(data) // 2], data[:20], bomb):
        (tmp_path / "broken.png").write_bytes(content)
        with pytest.raises(ItemError, match=r"broken\.png") as caught:
            read_image(tmp_path / "broken.png")
        assert caught.value.stage == "decode" and "\n" not in str(caught.value)


def test_real_photographs_become_clips() -> None:
    if not SHARED_MEDIA.exists():
        pytest.skip("../shared/media is not here")
    settings = ClipSettings(width=128, height=128)
    for path in sorted((SHARED_MEDIA / "images").glob("*.*g")):
        (clip,) = clips_of(_source(path), settings)
        assert clip.frames_nhwc.shape == (8, 128, 128, 3) and clip.frames_nhwc.dtype == np.uint8
        assert clip.frames_nhwc.std() > 10
