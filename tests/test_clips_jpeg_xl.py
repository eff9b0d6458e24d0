"""JPEG XL images by their pixels, whatever they are called; what its decoder would show wrongly is refused by name."""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pylibjxl
import pytest
from hypothesis import given
from hypothesis import settings as checks
from hypothesis import strategies as st
from PIL import Image

from tasks.clips.from_params import frames_from_params
from tasks.clips.images import read_image
from tasks.errors import ItemError
from tests.field_media import clips_in
from tests.jpeg_xl_files import QUARTERS, jpeg_xl

WIDTH, HEIGHT = 24, 16


def _shown(data: bytes) -> np.ndarray:
    return np.asarray(read_image(io.BytesIO(data)).picture).astype(int)


def _quarters(picture: np.ndarray) -> list[list[int]]:
    height, width = picture.shape[:2]
    return [picture[y, x].tolist() for y in (2, height - 3) for x in (2, width - 3)]


def _noise(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize("suffix", [".jxl", ".jpg", ".img"])
@pytest.mark.parametrize("boxed", [False, True])
def test_a_jpeg_xl_is_read_by_its_bytes(tmp_path: Path, suffix: str, boxed: bool) -> None:
    pixels = _noise((48, 64, 3))
    exif = Image.Exif()
    exif[0x0112] = 6  # libjxl goes by the codestream's own orientation, of which there is none
    path = tmp_path / f"picture{suffix}"
    path.write_bytes(pylibjxl.encode(pixels, lossless=True, **({"exif": exif.tobytes()} if boxed else {})))
    assert path.read_bytes().startswith(b"\0\0\0\x0cJXL " if boxed else b"\xff\x0a")
    assert np.array_equal(np.asarray(read_image(path).picture), pixels)
    (clip,) = clips_in(path, "images")
    assert (clip.source_width, clip.source_height) == (64, 48)
    assert np.array_equal(frames_from_params(str(path), clip.params_json), clip.frames_nhwc)


def test_grey_transparency_and_loss() -> None:
    grey = _noise((5, 7))
    assert np.array_equal(_shown(pylibjxl.encode(grey, lossless=True)), np.dstack([grey] * 3))
    clear = np.dstack([np.full((4, 4, 3), 60, np.uint8), np.zeros((4, 4, 1), np.uint8)])
    clear[:2, :, 3] = 255
    assert _shown(pylibjxl.encode(clear, lossless=True))[:, 0, 0].tolist() == [60, 60, 255, 255]
    flat = np.full((64, 64, 3), (200, 90, 30), np.uint8)
    assert np.abs(_shown(pylibjxl.encode(flat, distance=1.0)) - (200, 90, 30)).max() <= 6


def test_pictures_of_cjxl_as_viewers_show_them() -> None:
    turned = read_image(io.BytesIO(jpeg_xl("turned")))
    assert (turned.width, turned.height) == (HEIGHT, WIDTH)
    assert _quarters(np.asarray(turned.picture)) == [list(QUARTERS[place]) for place in (2, 0, 3, 1)]
    assert _quarters(_shown(jpeg_xl("deep"))) == [[colour[0]] * 3 for colour in QUARTERS]
    over_white = _shown(jpeg_xl("premultiplied"))
    assert _quarters(over_white) == [[255] * 3, list(QUARTERS[1]), [255] * 3, list(QUARTERS[3])]
    assert np.abs(over_white[0, 0] - (247, 142, 142)).max() <= 1  # half of it over white


def test_colours_of_other_spaces_are_turned_into_srgb() -> None:
    """By hand: Display P3's green is outside sRGB; light of 240/255 is sRGB's 248, of 30/255 its 96."""
    shown = np.array(_quarters(_shown(jpeg_xl("p3"))))
    assert np.abs(shown - [(255, 0, 0), (0, 204, 0), (240, 240, 240), (40, 40, 40)]).max() <= 3
    grey = np.array(_quarters(_shown(jpeg_xl("linear_grey"))))
    assert np.abs(grey[:, 0] - (248, 96, 248, 110)).max() <= 1 and (grey == grey[:, :1]).all()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("animated", "animated JPEG XL, which is not read; make it a WebP or a video"),
        ("pq", "HDR picture (PQ), which is not read; save it as one for ordinary displays"),
        ("hlg", "HDR picture (HLG), which is not read"),
        ("icc_lossy", "whose colours an ICC profile describes, which is not read; make it a PNG"),
    ],
)
def test_what_would_be_shown_wrongly_is_named(tmp_path: Path, name: str, said: str) -> None:
    path = tmp_path / "a.jxl"
    path.write_bytes(jpeg_xl(name))
    with pytest.raises(ItemError) as error:
        read_image(path)
    assert str(error.value).startswith("a.jxl: cannot be decoded: it is a") and said in str(error.value)
    with pytest.raises(ItemError):
        clips_in(path, "short-videos")


@checks(max_examples=150, deadline=None)
@given(data=st.data())
def test_damage_is_an_error_of_the_file(data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from([jpeg_xl("turned"), jpeg_xl("p3"), jpeg_xl("premultiplied")]))
    if data.draw(st.booleans()):
        damaged = whole[: data.draw(st.integers(0, len(whole) - 1))]
    else:
        place = data.draw(st.integers(2, len(whole) - 1))
        damaged = whole[:place] + bytes([data.draw(st.integers(0, 255))]) + whole[place + 1 :]
    try:
        read_image(io.BytesIO(damaged))
    except ItemError as error:
        assert "\n" not in str(error)


def test_a_bomb_is_refused_from_its_header() -> None:
    """A header of 100 megapixels before nothing much."""
    sides = 10_000
    # not small; two sides of 18 bits each, of which the second follows "no ratio"
    size = [0, *_u32(sides), 0, 0, 0, *_u32(sides)]
    bits = size + [1] * 80
    head = bytes(sum(bit << place for place, bit in enumerate(bits[at : at + 8])) for at in range(0, 96, 8))
    with pytest.raises(ItemError, match=r"10000x10000 in JXL takes about \d+ MB .* over the limit of 600 MB"):
        read_image(io.BytesIO(b"\xff\x0a" + head + bytes(40)))


def _u32(side: int) -> list[int]:
    return [0, 1] + [(side - 1) >> place & 1 for place in range(18)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "how"), [((8100, 6100), {"distance": 1.0}), ((3600, 2700), {"lossless": True})]
)
def test_no_jpeg_xl_takes_more_than_the_limit(tmp_path: Path, size: tuple[int, int], how: dict) -> None:
    coarse = np.random.default_rng(0).integers(0, 256, (12, 16, 4), np.uint8)
    channels = 4 if "lossless" in how else 3
    big = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC))[..., :channels]
    path = tmp_path / "big.jxl"
    path.write_bytes(pylibjxl.encode(np.ascontiguousarray(big), effort=1, **how))
    done = subprocess.run(
        [sys.executable, "-m", "tests.image_peak", str(path)], capture_output=True, text=True, check=True
    )
    report = json.loads(done.stdout)
    assert report["decoded"] == list(size) and report["grown"] < 600_000_000


def test_without_the_extra_the_command_that_brings_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jxl").write_bytes(jpeg_xl("turned"))
    script = (
        "import sys; sys.modules['pylibjxl'] = None\n"
        "from tasks.clips.images import read_image\n"
        "try: read_image(sys.argv[1])\n"
        "except Exception as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "a.jxl")], capture_output=True, text=True, check=True
    )
    assert "a.jxl: cannot be decoded: it is JPEG XL, which needs: pip install 'vidrd[jxl]'" in done.stdout
