"""HEIC, AVIF and JPEG 2000 images, whatever their names, and animated images as videos, by their pixels."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tasks.clips.from_params import frames_from_params
from tasks.clips.images import read_image
from tasks.clips.reading import frame_times, probe
from tasks.clips.video_io import iter_frames
from tasks.errors import ItemError
from tests.field_media import VIDEO_KINDS, clips_in
from tests.heif_files import heic

WIDTH, HEIGHT = 96, 64
COLOURS = [(230, 30, 30), (30, 200, 30), (30, 30, 230)]


def _picture() -> np.ndarray:
    picture = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
    picture[:32, :48] = (240, 30, 30)
    picture[:32, 48:] = (30, 200, 30)
    picture[32:, :48] = (240, 240, 240)
    return picture


def _saved(kind: str, **how: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(_picture()).save(buffer, kind, **how)
    return buffer.getvalue()


IMAGES = {
    "avif": lambda: _saved("AVIF", quality=100, subsampling="4:4:4"),
    "jpeg-2000": lambda: _saved("JPEG2000"),
    "jpeg-2000-codestream": lambda: _saved("JPEG2000", no_jp2=True),
    "heic": lambda: heic(_picture()),
}


@pytest.mark.parametrize("suffix", [".jpg", ".heic", ".img"])
@pytest.mark.parametrize("kind", IMAGES)
def test_an_image_is_read_by_its_bytes(tmp_path: Path, kind: str, suffix: str) -> None:
    path = tmp_path / f"picture{suffix}"
    path.write_bytes(IMAGES[kind]())
    image = read_image(path)
    assert (image.width, image.height) == (WIDTH, HEIGHT)
    assert np.abs(np.asarray(image.picture).astype(int) - _picture()).mean() < 4
    (clip,) = clips_in(path, "images")
    assert np.array_equal(frames_from_params(str(path), clip.params_json), clip.frames_nhwc)


def test_a_turned_heic_is_upright() -> None:
    picture = np.asarray(read_image(io.BytesIO(heic(_picture(), turns=1))).picture)
    assert picture.shape == (WIDTH, HEIGHT, 3)
    assert np.abs(picture.astype(int) - np.rot90(_picture())).mean() < 4


def test_an_avif_is_shown_over_white_and_turned() -> None:
    picture = Image.fromarray(
        np.dstack([_picture(), np.where(_picture()[..., 0] > 100, 0, 255).astype(np.uint8)])
    )
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    picture.save(buffer, "AVIF", quality=100, subsampling="4:4:4", exif=exif)
    shown = np.asarray(read_image(buffer).picture).astype(int)
    assert shown.shape == (WIDTH, HEIGHT, 3)
    wanted = np.where(_picture()[..., :1] > 100, 255, _picture())
    assert np.abs(shown - np.rot90(wanted, 3)).mean() < 6


@pytest.mark.parametrize(
    ("name", "size"), [("p.heic", (1600, 1200)), ("q.jpg", (1600, 1200)), ("r2.jpe", None)]
)
def test_suffixes_from_the_field(shared_dir: Path, name: str, size: tuple[int, int] | None) -> None:
    image = read_image(shared_dir / "media/field/suffixes" / name)
    assert size in (None, (image.width, image.height))
    assert np.asarray(image.picture).std() > 10


def _animation(path: Path, kind: str, durations_ms: list[int], **how: object) -> None:
    pictures = [Image.new("RGB", (WIDTH, HEIGHT), colour) for colour in COLOURS] * 8
    pictures = pictures[: len(durations_ms)]
    pictures[0].save(path, kind, save_all=True, append_images=pictures[1:], duration=durations_ms, **how)


ANIMATIONS = {"webp": ("WEBP", {"lossless": True}), "apng": ("PNG", {}), "avif": ("AVIF", {"quality": 100})}


@pytest.mark.parametrize("suffix", ["own", ".mp4", ".gif"])
@pytest.mark.parametrize("name", ANIMATIONS)
def test_an_animated_image_is_a_video(tmp_path: Path, name: str, suffix: str) -> None:
    kind, how = ANIMATIONS[name]
    path = tmp_path / ("film." + name if suffix == "own" else "film" + suffix)
    _animation(path, kind, [125] * 16, **how)
    assert probe(path).codec == name and probe(path).fps == pytest.approx(8)
    assert frame_times(path) == pytest.approx(np.arange(16) / 8)
    for index, (_, frame) in enumerate(iter_frames(path)):
        assert np.abs(frame.astype(int) - COLOURS[index % 3]).max() <= 8
    for kind in VIDEO_KINDS[:1]:
        (clip,) = clips_in(path, kind)
        first = round(clip.start_s * 8)
        shown = np.array([COLOURS[(first + index) % 3] for index in range(8)])
        assert np.abs(clip.frames_nhwc[:, 32, 32].astype(int) - shown).max() <= 8
        assert np.array_equal(frames_from_params(str(path), clip.params_json), clip.frames_nhwc)


@pytest.mark.parametrize("name", ANIMATIONS)
def test_an_animated_image_among_images_is_its_first_frame(tmp_path: Path, name: str) -> None:
    kind, how = ANIMATIONS[name]
    _animation(tmp_path / "picture.png", kind, [125] * 3, **how)
    assert (
        np.abs(np.asarray(read_image(tmp_path / "picture.png").picture).astype(int) - COLOURS[0]).max() <= 8
    )


def test_the_picture_for_those_who_know_no_apng_is_no_frame(tmp_path: Path) -> None:
    path = tmp_path / "film.png"
    pictures = [Image.new("RGB", (WIDTH, HEIGHT), colour) for colour in COLOURS]
    stand_in = Image.new("RGB", (WIDTH, HEIGHT), "black")
    stand_in.save(path, save_all=True, append_images=pictures, default_image=True, duration=[100, 200, 50])
    frames = list(iter_frames(path))
    assert [time_s for time_s, _ in frames] == pytest.approx([0.0, 0.1, 0.3])
    assert [tuple(frame[0, 0].tolist()) for _, frame in frames] == COLOURS


def test_a_still_image_is_no_video(tmp_path: Path) -> None:
    for name, kind in (("a.png", "PNG"), ("a.webp", "WEBP"), ("a.avif", "AVIF")):
        (tmp_path / name).write_bytes(_saved(kind))
        with pytest.raises(ItemError):
            clips_in(tmp_path / name, "short-videos")
