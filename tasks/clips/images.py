"""Reads still images upright through Pillow; whatever it cannot read becomes an ItemError of stage `decode`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pi_heif
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from tasks.clips.broken_files import what_is_wrong
from tasks.clips.deep_images import eight_bits, is_deep, refuse_planes, settle_transparency
from tasks.clips.icc_profiles import to_srgb
from tasks.clips.image_cost import FORMATS, reduce, size_problem
from tasks.clips.jpeg_xl import register_jpeg_xl
from tasks.clips.picture_colours import settle_colours
from tasks.corpora.media import Media, media_name
from tasks.errors import ItemError

pi_heif.register_heif_opener(thumbnails=False, decode_threads=1)
register_jpeg_xl()

STRIP_ROWS = 256  # of a picture whose mode is changed: the whole would stand in memory a third time
SIDES_SWAPPED = (5, 6, 7, 8)  # EXIF orientations that lay the picture on its side


@dataclass(frozen=True)
class StillImage:
    """A picture as a viewer shows it, in RGB, and its size in pixels before any reduction."""

    picture: Image.Image
    width: int
    height: int


def read_image(media: Media | Path) -> StillImage:
    """Reads an image upright (EXIF orientation), in sRGB, transparency over white; of an animation the first frame.

    A large JPEG is decoded at a half, a quarter or an eighth of its size (`image_cost.reduce`). Raises ItemError for
    what Pillow cannot read and for what would take more than `image_cost.MAX_BYTES` of memory.
    """
    with opened_image(media) as image:
        width, height = image.size
        reduce(image)
        settle_transparency(image)
        image.load()
        if image.getexif().get(ExifTags.Base.Orientation) in SIDES_SWAPPED:
            width, height = height, width
        ImageOps.exif_transpose(image, in_place=True)
        return StillImage(rgb_over_white(image), width, height)


def rgb_over_white(image: Image.Image) -> Image.Image:
    """Gives the image in sRGB, what is transparent over white; the image itself where it is so already."""
    if is_deep(image):
        profile = image.info.get("icc_profile")
        image = eight_bits(image)
        image.info["icc_profile"] = profile
    if image.mode == "RGB" and not image.has_transparency_data and to_srgb(image) is None:
        return image
    picture = Image.new("RGB", image.size, "white")
    for top in range(0, image.height, STRIP_ROWS):
        strip = image.crop((0, top, image.width, min(top + STRIP_ROWS, image.height)))
        picture.paste(*_shown_strip(strip, top))
    return picture


def _shown_strip(strip: Image.Image, top: int) -> tuple[Image.Image, tuple[int, int], Image.Image | None]:
    """Gives a strip in RGB, where it goes, and what of it is seen."""
    profile, alpha = strip.info.get("icc_profile"), None
    if strip.has_transparency_data:
        # Grey stays grey beside its alpha: its profile speaks of grey.
        strip = strip.convert("LA" if strip.mode in ("L", "LA", "La") else "RGBA")
        alpha = strip.getchannel("A")
        strip = strip.getchannel("L") if strip.mode == "LA" else strip.convert("RGB")
    elif strip.mode in ("P", "1"):
        strip = strip.convert("RGB" if strip.mode == "P" else "L")
    strip.info["icc_profile"] = profile
    transform = to_srgb(strip)
    return strip.convert("RGB") if transform is None else transform.apply(strip), (0, top), alpha


@contextmanager
def opened_image(media: Media | Path, kept_bytes_per_pixel: int = 0) -> Iterator[Image.Image]:
    """Gives an image that costs no more than the limit; whatever fails while it is open becomes an ItemError.

    kept_bytes_per_pixel: what the caller makes of a picture while it is there, beyond one in RGB.
    """
    name = media_name(media)
    try:
        if not isinstance(media, str | Path):
            media.seek(0)  # whoever read it last left it somewhere else
        # Pillow warns of large images; what they cost decides instead.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(media, formats=FORMATS) as image:
                if (problem := size_problem(image, kept_bytes_per_pixel)) is not None:
                    raise ItemError(f"{name}: {problem}", stage="decode")
                refuse_planes(image)
                settle_colours(image, media)
                yield image
    except (ItemError, GeneratorExit):
        raise
    except UnidentifiedImageError:
        problem = f"its content is no image of a kind that is read ({', '.join(FORMATS)})"
        if (wrong := what_is_wrong(media)) is not None:
            problem = f"its content is no image: it {wrong}"
        raise ItemError(f"{name}: cannot be decoded: {problem}", stage="decode") from None
    except Exception as error:  # broken files make Pillow's plugins raise nearly anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ItemError(f"{name}: cannot be decoded: {reason}", stage="decode") from error
