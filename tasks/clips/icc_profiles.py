"""Pictures whose file says what its numbers mean (an ICC profile), as the sRGB that everything here takes them for."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

# By what a profile calls its colours: the modes of pictures that it can speak of.
_MODES = {"RGB": ("RGB",), "GRAY": ("L",), "CMYK": ("CMYK",), "Lab": ("LAB",)}
_SAME_LEVELS = 2  # a profile that changes no colour by more is one of the many makes of sRGB
_GRID = 17  # colours on each side of the cube that is tried


def to_srgb(image: Image.Image) -> ImageCms.ImageCmsTransform | None:
    """Gives what turns pictures of this image's mode and profile into sRGB; None where nothing has to be done.

    A profile that is broken, or speaks of other colours than the image has, is passed over, as viewers do.
    """
    profile = image.info.get("icc_profile")
    if image.mode == "LAB":
        return _from_lab()
    return _transform(profile, image.mode) if isinstance(profile, bytes) and profile else None


@lru_cache(maxsize=8)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if mode not in _MODES.get(opened.profile.xcolor_space.strip(), ()):
            return None
        transform = _to_srgb(opened, mode)
        if mode in ("RGB", "L"):
            colours = _colours(mode)
            shown = np.asarray(transform.apply(colours), np.int16)
            if np.abs(shown - np.asarray(colours.convert("RGB"), np.int16)).max() <= _SAME_LEVELS:
                return None
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
    return transform


@lru_cache(maxsize=1)
def _from_lab() -> ImageCms.ImageCmsTransform:
    return _to_srgb(ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")), "LAB")


def _to_srgb(profile: ImageCms.ImageCmsProfile, mode: str) -> ImageCms.ImageCmsTransform:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    return ImageCms.ImageCmsTransform(profile, srgb, mode, "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC)


def _colours(mode: str) -> Image.Image:
    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    levels = np.linspace(0, 255, _GRID).round().astype(np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(_GRID, _GRID * _GRID, 3)
    return Image.fromarray(grid)
