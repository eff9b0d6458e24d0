"""Reads still images upright through Pillow; whatever it cannot read becomes an ItemError of stage `decode`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from tasks.clips.image_cost import FORMATS, reduce, size_problem
from tasks.corpora.media import Media, media_name
from tasks.errors import ItemError

STRIP_ROWS = 256  # of a picture whose mode is changed: the whole would stand in memory a third time
SIDES_SWAPPED = (5, 6, 7, 8)  # EXIF orientations that lay the picture on its side


@dataclass(frozen=True)
class StillImage:
    """A picture as a viewer shows it, in RGB, and its size in pixels before any reduction."""

    picture: Image.Image
    width: int
    height: int


def read_image(media: Media | Path) -> StillImage:
    """Reads an image upright (EXIF orientation), transparency over white; of an animation the first frame.

    A large JPEG is decoded at a half, a quarter or an eighth of its size (`image_cost.reduce`). Raises ItemError for
    what Pillow cannot read and for what would take more than `image_cost.MAX_BYTES` of memory.
    """
    with opened_image(media) as image:
        width, height = image.size
        reduce(image)
        image.load()
        if image.getexif().get(ExifTags.Base.Orientation) in SIDES_SWAPPED:
            width, height = height, width
        ImageOps.exif_transpose(image, in_place=True)
        return StillImage(rgb_over_white(image), width, height)


def rgb_over_white(image: Image.Image) -> Image.Image:
    """Gives the image in RGB, what is transparent over white; the image itself where it is so already."""
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    picture = Image.new("RGB", image.size, "white")
    for top in range(0, image.height, STRIP_ROWS):
        strip = image.crop((0, top, image.width, min(top + STRIP_ROWS, image.height)))
        if strip.has_transparency_data:
            strip = strip.convert("RGBA")
            picture.paste(strip, (0, top), strip.getchannel("A"))
        else:
            picture.paste(strip.convert("RGB"), (0, top))
    return picture


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
                yield image
    except (ItemError, GeneratorExit):
        raise
    except UnidentifiedImageError:
        raise ItemError(
            f"{name}: cannot be decoded: its content is no image of a kind that is read ({', '.join(FORMATS)})",
            stage="decode",
        ) from None
    except Exception as error:  # broken files make Pillow's plugins raise nearly anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ItemError(f"{name}: cannot be decoded: {reason}", stage="decode") from error
