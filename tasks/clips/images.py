"""Reads still images upright through Pillow; whatever it cannot read becomes an ItemError of stage `decode`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from tasks.corpora.media import Media, media_name
from tasks.errors import ItemError

MAX_PIXELS = 100_000_000  # about 300 MB as RGB; a header that promises more is a bomb or a poster


def read_image(media: Media | Path) -> np.ndarray:
    """Reads an image upright (EXIF orientation) as uint8 RGB (h, w, 3), transparency over white.

    Of an animation it is the first frame. Raises ItemError for what Pillow cannot read and for more than MAX_PIXELS.
    """
    with opened_image(media) as image:
        return np.asarray(upright_rgb(image))


def upright_rgb(image: Image.Image) -> Image.Image:
    """The image as a viewer shows it: turned as its EXIF says, in RGB, over white."""
    upright = ImageOps.exif_transpose(image)
    if upright.has_transparency_data:
        upright = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright.convert("RGBA"))
    return upright.convert("RGB")


@contextmanager
def opened_image(media: Media | Path) -> Iterator[Image.Image]:
    """An image whose size is within the limit; whatever fails while it is open becomes an ItemError."""
    name = media_name(media)
    try:
        if not isinstance(media, str | Path):
            media.seek(0)  # whoever read it last left it somewhere else
        # Pillow warns of large images; the limit below decides instead.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(media) as image:
                if image.width * image.height > MAX_PIXELS:
                    size = f"{image.width}x{image.height}"
                    raise ItemError(
                        f"{name}: {size} is over the limit of {MAX_PIXELS} pixels", stage="decode"
                    )
                yield image
    except (ItemError, GeneratorExit):
        raise
    except UnidentifiedImageError:
        raise ItemError(f"{name}: cannot be decoded: its content is no image", stage="decode") from None
    except Exception as error:  # broken files make Pillow's plugins raise nearly anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ItemError(f"{name}: cannot be decoded: {reason}", stage="decode") from error
