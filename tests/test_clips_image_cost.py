"""What one image may cost: photographs of 50 megapixels go in, bombs and posters are refused from their headers."""

import io
import json
import struct
import subprocess
import sys
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as checks
from hypothesis import strategies as st
from PIL import Image

from tasks.clips.image_cost import MAX_BYTES, WHOLE_JPEG_PIXELS
from tasks.clips.images import read_image, rgb_over_white
from tasks.errors import ItemError
from vidrd_model.pseudo_video import Motion, render

ROOT = Path(__file__).resolve().parents[1]
FIFTY_MEGAPIXELS = (8192, 6144)
ON_ITS_SIDE = 6  # an EXIF orientation: shown turned, so that one more picture is in memory
MOTION = Motion("zoom-in", (0.05, 0.1, 0.95, 0.9), (0.2, 0.2, 0.8, 0.7))


def _photograph(size: tuple[int, int], mode: str = "RGB") -> Image.Image:
    """Soft colours that are the same picture at every size."""
    coarse = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).convert(mode)


def _on_its_side() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = ON_ITS_SIDE
    return exif


def _read_alone(path: Path) -> dict[str, Any]:
    """What reading a file costs in a process of its own; see `tests/image_peak.py`."""
    command = [sys.executable, "-m", "tests.image_peak", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("turned.jpg", {"exif": _on_its_side()}),
        pytest.param(
            "fine.jpg",
            {"progressive": True, "subsampling": 0, "exif": _on_its_side()},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_photograph_of_50_megapixels_is_read_reduced(tmp_path: Path, name: str, how: dict) -> None:
    path = tmp_path / name
    _photograph(FIFTY_MEGAPIXELS).save(path, quality=90, **how)
    report = _read_alone(path)
    assert report["grown"] < MAX_BYTES
    assert report["size"] == list(reversed(FIFTY_MEGAPIXELS))
    assert report["decoded"] == [side // 2 for side in report["size"]]
    small = _photograph((1024, 768)).transpose(Image.Transpose.ROTATE_270)
    shown, wanted = (render(picture, MOTION, 3, 128, 96) for picture in (read_image(path).picture, small))
    assert np.abs(shown.astype(int) - wanted).mean() < 1.5


def test_the_size_of_a_reduced_photograph_is_its_own(tmp_path: Path) -> None:
    """An odd size, so that halves are rounded: filters and drawn motions must not depend on them."""
    path = tmp_path / "odd.jpg"
    Image.new("RGB", (5003, 5001), (200, 40, 90)).save(path)
    image = read_image(path)
    assert (image.width, image.height) == (5003, 5001) and image.picture.size == (2502, 2501)
    Image.new("RGB", (5000, 5000)).save(path)
    assert WHOLE_JPEG_PIXELS == 5000 * 5000 and read_image(path).picture.size == (5000, 5000)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "mode", "size", "how"),
    [
        ("turned.png", "RGB", FIFTY_MEGAPIXELS, {"compress_level": 1, "exif": _on_its_side()}),
        ("clear.png", "RGBA", FIFTY_MEGAPIXELS, {"compress_level": 1, "exif": _on_its_side()}),
        ("palette.png", "P", FIFTY_MEGAPIXELS, {"compress_level": 1}),
        ("grey.bmp", "L", FIFTY_MEGAPIXELS, {}),
        ("palette.gif", "P", FIFTY_MEGAPIXELS, {}),
        (
            "deflated.tif",
            "RGB",
            FIFTY_MEGAPIXELS,
            {"compression": "tiff_deflate", "tiffinfo": {278: 6144, 274: 6}},
        ),
        ("clear.tif", "RGBA", (8192, 5900), {"compression": "tiff_lzw", "tiffinfo": {278: 6100, 274: 6}}),
        ("clear.webp", "RGBA", (6800, 5180), {"quality": 30, "method": 0, "exif": _on_its_side()}),
        ("clear.avif", "RGBA", (6800, 5180), {"quality": 30, "speed": 10, "exif": _on_its_side()}),
        ("poster.jp2", "RGB", (5400, 4100), {}),
        ("clear.jp2", "RGBA", (4800, 3700), {}),
        ("poster.jpg", "RGB", (12_000, 9_000), {"progressive": True}),
        ("inks.jpg", "CMYK", (8_192, 6_144), {"progressive": True, "exif": _on_its_side()}),
    ],
)
def test_no_kind_of_image_takes_more_than_the_limit(
    tmp_path: Path, name: str, mode: str, size: tuple[int, int], how: dict
) -> None:
    path = tmp_path / name
    _photograph(size, mode).save(path, **how)
    report = _read_alone(path)
    assert sorted(report["size"]) == sorted(size)
    assert report["grown"] < MAX_BYTES


@cache
def _bombs() -> dict[str, bytes]:
    """Small files that promise more than there may be, or hold it."""
    png, gif, webp = (io.BytesIO() for _ in range(3))
    picture = Image.new("RGB", (16, 16))
    picture.save(png, "PNG")
    picture.save(gif, "GIF")
    picture.save(webp, "WEBP", save_all=True, append_images=[Image.new("RGB", (16, 16), "red")])
    header = b"IHDR" + struct.pack(">II", 10_000, 10_000) + png.getvalue()[24:29]
    wide_png = png.getvalue()[:12] + header + struct.pack(">I", zlib.crc32(header)) + png.getvalue()[33:]
    canvas = (12_000 - 1).to_bytes(3, "little") * 2  # of an animation whose frames are small
    return {
        "wide.png": wide_png,
        "wide.gif": gif.getvalue()[:6] + struct.pack("<HH", 10_000, 10_000) + gif.getvalue()[10:],
        "frame.gif": _gif_whose_frame_outgrows_its_screen(gif.getvalue()),
        "canvas.webp": webp.getvalue()[:24] + canvas + webp.getvalue()[30:],
        "tile.tif": _tiff_with_one_vast_tile(),
        "wide.jpg": _jpeg_header(11_000, 11_000),
    }


def _gif_whose_frame_outgrows_its_screen(gif: bytes) -> bytes:
    at = gif.index(b",", 13 + 3 * 2 ** ((gif[10] & 7) + 1))
    return gif[: at + 5] + struct.pack("<HH", 10_000, 10_000) + gif[at + 9 :]


def _tiff_with_one_vast_tile() -> bytes:
    """An image of 16x16 whose only tile is 16384x16384: a megabyte that unpacks to 268 MB and promises more."""
    packer = zlib.compressobj(1)
    tile = b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(256)), packer.flush()])
    tags = [
        (256, 4, 16), (257, 4, 16), (258, 3, 8), (259, 3, 8), (262, 3, 2), (277, 3, 3),
        (284, 3, 1), (322, 4, 16384), (323, 4, 16384), (324, 4, 8), (325, 4, len(tile)),
    ]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(tile)) + tile + directory


def _jpeg_header(width: int, height: int) -> bytes:
    whole = io.BytesIO()
    Image.new("RGB", (16, 16)).save(whole, "JPEG", subsampling=0)
    data = whole.getvalue()
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


@pytest.mark.parametrize("name", ["wide.png", "wide.gif", "frame.gif", "canvas.webp", "tile.tif", "wide.jpg"])
def test_bombs_are_refused_from_their_headers(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(_bombs()[name])
    assert path.stat().st_size < 2_000_000
    report = _read_alone(path)
    assert report["grown"] < 50_000_000
    assert report["error"].startswith(f"{name}: ") and "over the limit of 600 MB" in report["error"]


def test_a_bomb_in_memory_is_refused_as_in_a_file() -> None:
    for data in _bombs().values():  # as it comes from a cell of a table or a member of a tar
        with pytest.raises(ItemError, match=r"file in memory: .* over the limit of 600 MB"):
            read_image(io.BytesIO(data))


@checks(max_examples=60, deadline=None)
@given(
    mode=st.sampled_from(["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"]),
    size=st.tuples(st.integers(1, 9), st.integers(1, 600)),
    clear=st.one_of(st.none(), st.integers(0, 255)),
    seed=st.integers(0, 9),
)
def test_pictures_in_strips_are_pictures_as_a_whole(
    mode: str, size: tuple[int, int], clear: int | None, seed: int
) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 4), np.uint8)
    image = Image.fromarray(pixels, "RGBA")
    image = image.convert(mode)
    if clear is not None and mode in ("L", "P"):
        image.info["transparency"] = clear
    over_white = image
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        over_white = Image.alpha_composite(white, image.convert("RGBA"))
    assert rgb_over_white(image).tobytes() == over_white.convert("RGB").tobytes()
