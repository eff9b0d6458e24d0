"""Text in the picture: found where it is drawn on real films, not where there is none, and held apart from passing."""

import sys

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from tasks.clips.video_io import iter_frames
from tasks.errors import RequestError
from tasks.filters.text_in_frames import text_areas, text_finder_digest

WORDS = "so we stayed where the river bends"


@pytest.fixture(scope="module")
def films(shared_dir) -> dict[str, np.ndarray]:
    """Eight frames of a second of two films that show no writing."""
    return {
        name: np.stack(
            [frame for _, frame in iter_frames(shared_dir / "media/videos" / name, 256, 256)][:32:4]
        )
        for name in ("bigbuckbunny.mp4", "carphone_pristine.mp4")
    }


def written(frames: np.ndarray, text: str, size: int, places: list[tuple[int, int]]) -> np.ndarray:
    """The frames with white text in black outline, its upper left corner at a place for each frame."""
    pages = [Image.fromarray(frame) for frame in frames]
    for page, place in zip(pages, places, strict=True):
        font = ImageFont.load_default(size)
        ImageDraw.Draw(page).text(place, text, (255, 255, 255), font, stroke_width=1, stroke_fill=(0, 0, 0))
    return np.stack([np.asarray(page) for page in pages])


def drawn_share(text: str, size: int, side: int = 256) -> float:
    left, top, right, bottom = ImageFont.load_default(size).getbbox(text)
    return (right - left) * (bottom - top) / side**2


@pytest.mark.parametrize("name", ["bigbuckbunny.mp4", "carphone_pristine.mp4"])
def test_films_without_writing_have_none_and_subtitles_are_found_and_held(films, name):
    clean = text_areas(films[name])
    assert clean.shown < 0.01 and clean.held < 0.005
    titled = text_areas(written(films[name], WORDS, 13, [(24, 228)] * 8))
    share = drawn_share(WORDS, 13)
    assert 0.6 * share < titled.shown - clean.shown < 2.5 * share
    assert titled.held > 0.6 * share


def test_text_that_passes_is_shown_and_not_held(films):
    frames = written(films["carphone_pristine.mp4"], "EXIT", 22, [(4, 10 + 26 * step) for step in range(8)])
    areas = text_areas(frames)
    assert areas.shown > 0.6 * drawn_share("EXIT", 22) and areas.held == 0


def test_text_in_one_of_the_frames_looked_at_counts_whole(films):
    frames = films["bigbuckbunny.mp4"].copy()
    frames[-1:] = written(frames[-1:], WORDS, 13, [(24, 120)])
    areas = text_areas(frames)
    assert areas.shown > 0.6 * drawn_share(WORDS, 13) and areas.held < 0.005


@pytest.mark.parametrize(("height", "width"), [(64, 64), (288, 512), (720, 405)])
def test_frames_of_any_size(films, height, width):
    frames = np.stack([cv2.resize(frame, (width, height)) for frame in films["bigbuckbunny.mp4"]])
    areas = text_areas(frames)
    assert 0 <= areas.held <= areas.shown < 0.02


def test_a_striped_jumper_is_no_letter(shared_dir):
    """The network takes the jumper of this film for text, and the box would be the whole frame."""
    path = shared_dir / "media/videos/decord_flipping_a_pancake.mkv"
    frames = np.stack([frame for _, frame in iter_frames(path, 256, 256)])
    (jumper,) = np.linspace(0, len(frames) - 1, 8).astype(int)[6:7]
    assert text_areas(frames[jumper][None]).shown < 0.02


@pytest.mark.parametrize("package", ["onnxruntime", "rapidocr"])
def test_without_the_extra_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(RequestError, match=rf"max_text_area: .*{package}.*vidrd\[filters\]"):
        text_finder_digest()


def test_the_network_is_read_without_the_package_being_imported():
    assert len(text_finder_digest()) == 32 and "rapidocr" not in sys.modules
