"""Which image formats are read, and what decoding an image costs in memory, told from its header.

Pillow knows some forty formats, and some of them start programs (PostScript looks for Ghostscript) or read other
files; a name says nothing of what a file holds. The bytes per pixel are measured: tests/test_clips_image_cost.py.
"""

from __future__ import annotations

from typing import Any

from PIL import Image

MAX_BYTES = 600_000_000
"""What one image may take, beyond what the process has before."""

BYTES_PER_PIXEL = {
    "AVIF": 16,
    "BMP": 8,
    "GIF": 8,
    "HEIF": 16,
    "JPEG": 8,
    "JPEG2000": 8,
    "JXL": 11,
    "PNG": 8,
    "TIFF": 8,
    "WEBP": 16,
}
"""The picture twice, 4 bytes a pixel: once more as it is turned or its mode is changed. Some decoders have more."""

JPEG2000_SAMPLE_BYTES = 6
"""OpenJPEG's integers and its tiles, for every sample of a picture."""

JPEG_XL_SAMPLE_BYTES = 15
"""What libjxl keeps of every sample of pictures that come in steps, without loss or with transparency."""

FORMATS = tuple(BYTES_PER_PIXEL)
DIVISORS = (1, 2, 4, 8)  # what libjpeg can divide the sides by while it decodes

WHOLE_JPEG_PIXELS = 25_000_000
"""JPEGs up to this size are decoded whole; no clip needs more of a larger one."""

_OTHER_BYTES = 10_000_000
_TIFF_BITS, _TIFF_SAMPLES, _TIFF_TILE_WIDTH, _TIFF_TILE_LENGTH = 258, 277, 322, 323


def size_problem(image: Any, kept_bytes_per_pixel: int = 0) -> str | None:
    """Why an opened image, of which the header alone has been read, is too large; None when it is not.

    kept_bytes_per_pixel: what the caller makes of the picture while it is there.
    """
    cost = cost_bytes(image, kept_bytes_per_pixel)
    if cost <= MAX_BYTES:
        return None
    return (
        f"{image.width}x{image.height} in {image.format} takes about {cost / 1e6:.0f} MB of memory to decode, "
        f"over the limit of {MAX_BYTES / 1e6:.0f} MB"
    )


def cost_bytes(image: Any, kept_bytes_per_pixel: int = 0) -> int:
    """Gives the bytes of memory that decoding an opened image takes, as its header tells."""
    pixels = image.width * image.height
    if _is_jpeg(image):
        cost = _jpeg_bytes(image, DIVISORS[-1])
    elif image.format == "TIFF":
        cost = _tiff_bytes(image)
    elif image.format == "JPEG2000":
        cost = (BYTES_PER_PIXEL["JPEG2000"] + JPEG2000_SAMPLE_BYTES * len(image.getbands())) * pixels
    elif image.format == "JXL" and not image.header.is_plain:
        cost = max(BYTES_PER_PIXEL["JXL"], JPEG_XL_SAMPLE_BYTES * image.header.channels) * pixels
    else:
        cost = BYTES_PER_PIXEL[image.format] * pixels
    return cost + kept_bytes_per_pixel * pixels + _OTHER_BYTES


def reduce(image: Image.Image) -> None:
    """Makes a large JPEG decode at a half, a quarter or an eighth of its sides, the first that is small enough."""
    if not _is_jpeg(image):
        return
    pixels = image.width * image.height
    for divisor in DIVISORS:
        fits = _jpeg_bytes(image, divisor) + _OTHER_BYTES <= MAX_BYTES
        if fits and pixels <= WHOLE_JPEG_PIXELS * divisor**2:
            break
    if divisor > 1:
        image.draft(None, (image.width // divisor, image.height // divisor))


def _is_jpeg(image: Image.Image) -> bool:
    return image.format in ("JPEG", "MPO")  # MPO is several JPEGs in one file, as some cameras write


def _jpeg_bytes(image: Any, divisor: int) -> int:
    """Gives the reduced picture and, unless all components come in one scan, two bytes for every sample of the whole.

    Only progressive files say in their header that they come in several scans, so all are taken to do so.
    """
    pixels = image.width * image.height
    factors = [(across, down) for _, across, down, _ in image.layer]
    most = max(across for across, _ in factors) * max(down for _, down in factors)
    samples = pixels * sum(across * down for across, down in factors) // max(most, 1)
    return 2 * samples + BYTES_PER_PIXEL["JPEG"] * pixels // divisor**2


def _tiff_bytes(image: Any) -> int:
    """The picture and a strip or tile as it is packed; a strip may be the whole, a tile of any size."""
    tags = image.tag_v2
    pixels = image.width * image.height
    tile_pixels = tags.get(_TIFF_TILE_WIDTH, 0) * tags.get(_TIFF_TILE_LENGTH, 0)
    sample_bits = max(tags.get(_TIFF_BITS, (1,))) * tags.get(_TIFF_SAMPLES, 1)
    return BYTES_PER_PIXEL["TIFF"] * pixels + max(pixels, tile_pixels) * sample_bits // 8
