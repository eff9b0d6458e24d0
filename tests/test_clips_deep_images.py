"""Images of every depth and kind of colour, read back: ramps are ramps, profiles are followed, what hides is white."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as checks
from hypothesis import strategies as st
from PIL import Image, ImageCms

from tasks.clips.images import read_image
from tasks.errors import ItemError
from tests.field_media import clips_in

RAMP = np.arange(256)
SEEN = np.repeat(
    RAMP.astype(np.uint8)[None, :, None], 3, axis=2
)  # (1, 256, 3): what a ramp of any depth shows


def _read(image: Image.Image | bytes, kind: str = "", **how: object) -> np.ndarray:
    buffer = io.BytesIO(image if isinstance(image, bytes) else b"")
    if isinstance(image, Image.Image):
        image.save(buffer, kind, **how)
    return np.asarray(read_image(buffer).picture)


def _png(pixels: np.ndarray, bits: int, colour_type: int, transparent: bytes | None = None) -> bytes:
    """A PNG of samples (h, w) or (h, w, 3) of 2, 4, 8 or 16 bits, with a transparent colour, if one is given."""
    per_byte = {2: 4, 4: 2}.get(bits)
    if per_byte is None:
        lines = pixels.astype(">u2" if bits == 16 else np.uint8)
    else:
        parts = pixels.reshape(len(pixels), -1, per_byte).astype(int)
        shifts = bits * np.arange(per_byte)[::-1]
        lines = (parts << shifts).sum(axis=2).astype(np.uint8)
    height, width = pixels.shape[:2]
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0))]
    chunks += [(b"tRNS", transparent)] if transparent is not None else []
    chunks += [(b"IDAT", zlib.compress(b"".join(b"\0" + line.tobytes() for line in lines))), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n"
    for name, body in chunks:
        data += struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    return data


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG2000"])
def test_grey_of_16_bits_is_a_ramp(kind: str) -> None:
    shown = _read(Image.fromarray((RAMP * 257).astype(np.uint16)[None].repeat(8, 0)), kind)
    assert np.array_equal(shown, SEEN.repeat(8, 0))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("bits", "white_is_zero"), [(16, False), (16, True), (12, False)])
def test_tiffs_of_12_and_16_bits_are_ramps(order: str, bits: int, white_is_zero: bool) -> None:
    if bits == 12 and order == ">":
        pytest.skip("Pillow refuses it by name")
    values = RAMP * (2**bits - 1) // 255
    values = 2**bits - 1 - values if white_is_zero else values
    data = values.astype(order + "u2").tobytes()
    if bits == 12:
        data = b"".join(
            bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255]) for a, b in values.reshape(-1, 2).tolist()
        )
    tags = [
        (256, 256), (257, 1), (258, bits), (259, 1), (262, 0 if white_is_zero else 1),
        (273, 8), (277, 1), (278, 1), (279, len(data)),
    ]  # fmt: skip
    mark = "II*\0" if order == "<" else "MM\0*"
    directory = struct.pack(order + "H", len(tags))
    for tag, value in tags:
        directory += struct.pack(order + "HHI", tag, 3, 1) + struct.pack(order + "HH", value, 0)
    tiff = mark.encode() + struct.pack(order + "I", 8 + len(data)) + data + directory + bytes(4)
    try:
        shown = _read(tiff)
    except ItemError as error:
        assert "cannot be decoded" in str(error) and white_is_zero and order == ">"
        return
    assert np.abs(shown.astype(int) - SEEN).max() <= 1


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        (RAMP / 255, RAMP),
        (RAMP / 510, np.rint(RAMP / 2)),  # a dark picture stays dark
        (RAMP.astype(float), RAMP),
        (RAMP * 1000.0 - 500, RAMP),
        (RAMP * -1.0, RAMP[::-1]),
    ],
)
def test_floats_have_their_white_at_one_or_at_their_greatest(values: np.ndarray, shown: np.ndarray) -> None:
    pixels = _read(Image.fromarray(values.astype(np.float32)[None]), "TIFF")
    assert np.abs(pixels[0, :, 0].astype(int) - shown).max() <= 1


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_floats_that_are_not_finite_are_refused_by_name(tmp_path: Path, value: float) -> None:
    samples = np.ones((2, 2), np.float32)
    samples[1, 1] = value
    Image.fromarray(samples).save(tmp_path / "height.tif")
    with pytest.raises(ItemError, match=r"height\.tif: cannot be decoded: has samples that are not finite"):
        read_image(tmp_path / "height.tif")


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        (RAMP * 8421504, RAMP),  # to 2147483520
        (RAMP, RAMP),
        (RAMP * 257, RAMP),
        (RAMP * 100_000 - 7, RAMP),
    ],
)
def test_integers_of_32_bits_are_ramps(values: np.ndarray, shown: np.ndarray) -> None:
    pixels = _read(Image.fromarray(values.astype(np.int32)[None]), "TIFF")
    assert np.abs(pixels[0, :, 0].astype(int) - shown).max() <= 1


@pytest.mark.parametrize(("bits", "greys"), [(2, 4), (4, 16), (8, 256), (16, 65536)])
def test_a_transparent_grey_is_white_whatever_the_depth(bits: int, greys: int) -> None:
    values = np.array([[0, greys // 2, greys // 4, greys - 1]])
    shown = _read(_png(values, bits, 0, struct.pack(">H", greys // 2)))[0, :, 0].astype(int)
    wanted = [0, 255, greys // 4 * 255 / (greys - 1), 255]
    assert np.abs(shown - wanted).max() <= 1


def test_a_transparent_colour_of_16_bits_is_white() -> None:
    colours = np.array([[(0x8001, 0x1234, 0x00FF), (0x8100, 0x1234, 0x00FF)]])
    shown = _read(_png(colours, 16, 2, struct.pack(">HHH", *colours[0, 0])))
    assert shown[0].tolist() == [[255, 255, 255], [0x81, 0x12, 0x00]]


def test_colours_of_16_bits_one_bit_inks_and_palettes() -> None:
    deep = _read(_png(np.stack([RAMP * 257] * 3, axis=-1)[None], 16, 2))
    assert np.array_equal(deep, SEEN)
    bits = _read(Image.fromarray(np.array([[True, False]])), "PNG")
    assert bits[0].tolist() == [[255] * 3, [0] * 3]
    inks = _read(Image.new("CMYK", (2, 2), (0, 255, 255, 0)), "TIFF")
    assert np.abs(inks.astype(int) - (255, 0, 0)).max() <= 1
    palette = Image.new("P", (2, 1))
    palette.putpalette([200, 10, 10, 10, 200, 10])
    palette.putpixel((1, 0), 1)
    shown = _read(palette, "PNG", transparency=bytes([255, 128]))
    assert shown[0].tolist() == [[200, 10, 10], [132, 227, 132]]


@checks(max_examples=60, deadline=None)
@given(values=st.lists(st.integers(0, 65535), min_size=2, max_size=40))
def test_every_grey_of_16_bits_is_its_257th_part(values: list[int]) -> None:
    shown = _read(_png(np.array([values]), 16, 0))
    assert np.array_equal(shown[0, :, 0], np.rint(np.array(values) / 257))


# Colours --------------------------------------------------------------------------------------------------------------


def _curve(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)


def _profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    """A version 2 ICC profile of a display or of grey, with its tags."""
    text = b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78)
    tags = {b"desc": text, b"wtpt": _xyz(0.9642, 1.0, 0.8249), **tags}
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        data += bytes(-len(data) % 4)
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data
    header = struct.pack(">I", start + len(body)) + bytes(4) + b"\x02\x40\0\0" + b"mntr" + space + b"XYZ "
    header += bytes(12) + b"acsp" + bytes(28) + struct.pack(">iii", 63190, 65536, 54061)
    return header + bytes(128 - len(header)) + table + body


def _xyz(*values: float) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">iii", *(round(value * 65536) for value in values))


ADOBE_RGB = _profile(
    b"RGB ",
    {
        b"rXYZ": _xyz(0.6097, 0.3111, 0.0195), b"gXYZ": _xyz(0.2053, 0.6257, 0.0609),
        b"bXYZ": _xyz(0.1492, 0.0632, 0.7446),
        b"rTRC": _curve(2.2), b"gTRC": _curve(2.2), b"bTRC": _curve(2.2),
    },
)  # fmt: skip
LINEAR_GREY = _profile(b"GRAY", {b"kTRC": _curve(1.0)})
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_a_profile_is_followed_to_srgb(kind: str) -> None:
    """By the matrix from Adobe RGB to sRGB, over linear light: a greener green than the numbers say in sRGB."""
    how = {"lossless": True} if kind == "WEBP" else {}
    plain = Image.new("RGB", (16, 16), (150, 200, 150))
    shown = _read(plain, kind, icc_profile=ADOBE_RGB, **how)[8, 8].astype(int)
    assert np.abs(shown - (124, 201, 149)).max() <= 6
    assert np.abs(_read(plain, kind, icc_profile=SRGB, **how)[8, 8].astype(int) - (150, 200, 150)).max() <= 2


def test_profiles_of_grey_and_beside_transparency() -> None:
    grey = _read(Image.new("L", (4, 4), 55), "PNG", icc_profile=LINEAR_GREY)
    assert np.abs(grey.astype(int) - 128).max() <= 2
    clear = Image.new("RGBA", (2, 1), (150, 200, 150, 255))
    clear.putpixel((1, 0), (150, 200, 150, 0))
    shown = _read(clear, "PNG", icc_profile=ADOBE_RGB)[0].astype(int)
    assert np.abs(shown[0] - (124, 201, 149)).max() <= 6 and shown[1].tolist() == [255, 255, 255]
    deep = _read(Image.fromarray(np.full((4, 4), 55 * 257, np.uint16)), "PNG", icc_profile=LINEAR_GREY)
    assert np.abs(deep.astype(int) - 128).max() <= 2


@pytest.mark.parametrize("profile", [b"no profile", ADOBE_RGB[:200], LINEAR_GREY, bytes(4000)])
def test_a_profile_that_is_broken_or_of_other_colours_is_passed_over(profile: bytes) -> None:
    assert _read(Image.new("RGB", (4, 4), (9, 99, 199)), "PNG", icc_profile=profile)[0, 0].tolist() == [
        9,
        99,
        199,
    ]


def test_an_image_with_the_profile_of_srgb_is_what_it_was() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    assert np.array_equal(_read(Image.fromarray(pixels), "PNG", icc_profile=SRGB), pixels)


@pytest.mark.parametrize("name", ["grey16.png", "grey16_trns.png", "f32_01.tif", "i32.tif"])
def test_deep_images_from_the_field(shared_dir: Path, name: str) -> None:
    path = shared_dir / "media/field/deep-images" / name
    shown = np.asarray(read_image(path).picture)[64].astype(int)
    ramp = slice(1, None) if "trns" in name else slice(None)  # black is the transparent grey
    assert np.abs(shown[ramp] - RAMP[ramp, None]).max() <= 1
    (clip,) = clips_in(path, "images")
    assert 60 < clip.frames_nhwc.mean() < 195 and clip.frames_nhwc.std() > 30


@pytest.mark.parametrize("bits", [8, 16])
def test_a_plane_for_each_colour_is_read_right_or_refused(tmp_path: Path, bits: int) -> None:
    """A TIFF by hand, as Pillow writes none: its planes of 16 bits are taken for three of 8."""
    picture = np.zeros((4, 6, 3), np.uint8)
    picture[:, :3], picture[:, 3:] = (200, 40, 40), (40, 40, 200)
    samples = picture.astype("<u2") * 257 if bits == 16 else picture
    data = b"".join(samples[..., colour].tobytes() for colour in range(3))
    places = [200 + colour * len(data) // 3 for colour in range(3)]
    wide = {258: (3, [bits] * 3), 273: (4, places), 279: (4, [len(data) // 3] * 3)}
    tags = {
        256: (3, [6]),
        257: (3, [4]),
        259: (3, [1]),
        262: (3, [2]),
        277: (3, [3]),
        278: (3, [4]),
        284: (3, [2]),
    }
    entries, more = b"", b""
    for tag, (kind, values) in sorted((tags | wide).items()):
        raw = b"".join(value.to_bytes(2 if kind == 3 else 4, "little") for value in values)
        if len(raw) > 4:
            raw, more = (140 + len(more)).to_bytes(4, "little"), more + raw
        entries += struct.pack("<HHI", tag, kind, len(values)) + raw.ljust(4, b"\0")
    head = b"II*\0" + struct.pack("<IH", 8, len(tags | wide)) + entries + bytes(4)
    path = tmp_path / "planes.tif"
    path.write_bytes((head.ljust(140, b"\0") + more).ljust(200, b"\0") + data)
    if bits == 8:
        assert np.array_equal(np.asarray(read_image(path).picture), picture)
        return
    with pytest.raises(ItemError, match=r"planes\.tif.*samples of 16 bits lie in a plane for each colour"):
        read_image(path)
