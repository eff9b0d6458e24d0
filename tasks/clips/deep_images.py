"""Pictures of more, or of fewer, than eight bits a sample: grey of 12, 16 and 32 bits and of floats, as eight bits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

STRIP_ROWS = 256  # the whole picture in floats would be four times as large
_DEEP_MODES = ("I", "F")  # and I;16 in its byte orders
_TIFF_BITS, _TIFF_PHOTOMETRIC, _TIFF_PLANES, _TIFF_SAMPLE_FORMAT = 258, 262, 284, 339
_SEPARATE = 2
_WHITE_IS_ZERO, _UNSIGNED = 0, 1
_GREYS = {"L;2": 4, "L;4": 16}  # by what Pillow calls the samples of a file


def is_deep(image: Image.Image) -> bool:
    """Tells whether the samples of an image have more bits than eight; Pillow itself would clip them at 255."""
    return image.mode in _DEEP_MODES or image.mode.startswith("I;16")


def eight_bits(image: Image.Image) -> Image.Image:
    """Gives a deep image in L, or in LA where one of its greys is transparent; ValueError where no white is known.

    16-bit grey is divided by 257. Integers of 32 bits that fit into 8 or 16 are taken as those, floats between 0 and 1
    have their white at 1; of any others the least is black and the greatest white.
    """
    low, high = _range(image)
    grey, alpha = Image.new("L", image.size), None
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        alpha = Image.new("L", image.size, 255)
    for top, samples in _strips(image):
        parts = np.clip((samples.astype(np.float64) - low) / (high - low), 0.0, 1.0)
        if _white_is_zero(image):
            parts = 1.0 - parts
        grey.paste(Image.fromarray(np.rint(parts * 255).astype(np.uint8)), (0, top))
        if alpha is not None:
            alpha.paste(Image.fromarray(np.where(samples == clear, 0, 255).astype(np.uint8)), (0, top))
    return grey if alpha is None else Image.merge("LA", (grey, alpha))


def refuse_planes(image: Image.Image) -> None:
    """Raises ValueError for a TIFF with more bits than eight in planes of their own, which Pillow takes for eight."""
    bits = _tag(image, _TIFF_BITS, ())
    if (
        _tag(image, _TIFF_PLANES, 1) == _SEPARATE
        and isinstance(bits, tuple)
        and len(bits) > 1
        and max(bits) > 8
    ):
        raise ValueError(
            f"its samples of {max(bits)} bits lie in a plane for each colour; save it with those of a pixel together"
        )


def settle_transparency(image: Image.Image) -> None:
    """Puts the transparent colour of a PNG in terms of eight bits; to be called before its pixels are read.

    Pillow gives the pixels in eight bits, whatever the file has, and the colour as the file has it.
    """
    clear = image.info.get("transparency")
    tiles = getattr(image, "tile", None)
    if image.format != "PNG" or clear is None or isinstance(clear, bytes) or not tiles:
        return
    rawmode = str(tiles[0].args)
    if isinstance(clear, tuple) and rawmode == "RGB;16B":
        image.info["transparency"] = tuple(value >> 8 for value in clear)
    elif isinstance(clear, int) and rawmode in _GREYS:
        image.info["transparency"] = clear * 255 // (_GREYS[rawmode] - 1)


def _range(image: Image.Image) -> tuple[float, float]:
    """Gives the samples that are black and white."""
    if image.mode.startswith("I;16"):
        return 0.0, 4095.0 if _tag(image, _TIFF_BITS, None) in (12, (12,)) else 65535.0
    extremes = [(float(samples.min()), float(samples.max())) for _, samples in _strips(image)]
    low, high = min(low for low, _ in extremes), max(high for _, high in extremes)
    if not np.isfinite((low, high)).all():
        raise ValueError("has samples that are not finite, so nothing says what is white")
    for white in (1.0,) if image.mode == "F" else (255.0, 65535.0):
        if low >= 0 and high <= white:
            return 0.0, white
    return low, max(high, low + 1.0)


def _strips(image: Image.Image) -> Iterator[tuple[int, np.ndarray]]:
    unsigned = image.mode == "I" and _tag(image, _TIFF_SAMPLE_FORMAT, (0,)) in (_UNSIGNED, (_UNSIGNED,))
    for top in range(0, image.height, STRIP_ROWS):
        strip = image.crop((0, top, image.width, min(top + STRIP_ROWS, image.height)))
        samples = np.asarray(strip)
        yield top, samples.view(np.uint32) if unsigned else samples


def _white_is_zero(image: Image.Image) -> bool:
    return bool(_tag(image, _TIFF_PHOTOMETRIC, None) == _WHITE_IS_ZERO)


def _tag(image: Image.Image, tag: int, otherwise: object) -> object:
    return getattr(image, "tag_v2", {}).get(tag, otherwise)
