"""JPEG XL as an image format of Pillow, decoded by libjxl through `pylibjxl` (BSD; the extra `jxl`).

Pillow's own plug-in for it is under the GPL. Of `pylibjxl` the pixels alone are taken: it gives the last frame of an
animation, and of colours only what an ICC profile says, so `jpeg_xl_header.py` looks first.
"""

from __future__ import annotations

import os
from typing import IO, Any

import numpy as np
from PIL import Image, ImageFile

from tasks.clips.colour_codes import icc_profile
from tasks.clips.jpeg_xl_header import CODESTREAM, CONTAINER, JpegXlHeader, read_header

_MOST_BYTES_PER_SAMPLE = 8  # no encoder needs as many; a file that says otherwise is not read into memory
_SMALL_BYTES = 2**20


class JpegXlImage(ImageFile.ImageFile):
    """A JPEG XL picture: its header is read when it is opened, its pixels when they are asked for.

    Raises ValueError, of which `opened_image` makes the reason that a file is quarantined.
    """

    format = "JXL"
    format_description = "JPEG XL"
    header: JpegXlHeader

    def _open(self) -> None:
        file = self.fp
        assert file is not None
        self.header = header = read_header(file)
        if header.is_animated:
            raise ValueError("it is an animated JPEG XL, which is not read; make it a WebP or a video")
        if header.has_black:
            raise ValueError("it is a JPEG XL of printing inks (CMYK), which is not read; make it a PNG")
        if header.is_xyb and header.colours is None:
            raise ValueError(
                "it is a JPEG XL with loss whose colours an ICC profile describes, which is not read; "
                "make it a PNG (djxl does)"
            )
        size_bytes = file.seek(0, os.SEEK_END)
        most_bytes = _SMALL_BYTES + _MOST_BYTES_PER_SAMPLE * header.channels * header.width * header.height
        if size_bytes > most_bytes:
            raise ValueError(f"it has {size_bytes} bytes for {header.width}x{header.height} pixels")
        self._size = header.width, header.height
        self._mode = "RGB"  # until it is decoded

    def load(self) -> Any:
        """Decodes the picture, upright as libjxl gives it."""
        if self.fp is not None and self._im is None:
            picture, profile = _decoded(self.fp, self.header)
            self.im = picture.im
            self._mode, self._size = picture.mode, picture.size
            if profile is not None:
                self.info["icc_profile"] = profile
        return Image.Image.load(self)


def register_jpeg_xl() -> None:
    """Makes Pillow open JPEG XL by its bytes."""
    Image.register_open(JpegXlImage.format, JpegXlImage, _is_jpeg_xl)


def _is_jpeg_xl(head: bytes) -> bool:
    return head.startswith((CODESTREAM, CONTAINER))


def _decoded(file: IO[bytes], header: JpegXlHeader) -> tuple[Image.Image, bytes | None]:
    """Gives the picture and the ICC profile of its numbers, None where they are those of sRGB."""
    try:
        import pylibjxl
    except ImportError:
        raise ValueError("it is JPEG XL, which needs: pip install 'vidrd[jxl]'") from None
    file.seek(0)
    with pylibjxl.JXL(threads=1, pool_size=1) as decoder:
        samples, told = decoder.decode(file.read(), metadata=True)
    picture = _picture(samples, header)
    if header.colours is None:
        return picture, told.get("icc")
    profile = icc_profile(header.colours)
    # Profiles of grey are not made: its numbers are three times the same then.
    return picture.convert("RGB") if profile is not None and picture.mode == "L" else picture, profile


def _picture(samples: np.ndarray, header: JpegXlHeader) -> Image.Image:
    if not header.is_premultiplied or samples.ndim < 3 or samples.shape[2] not in (2, 4):
        return Image.fromarray(samples)
    premultiplied = "La" if samples.shape[2] == 2 else "RGBa"
    picture = Image.frombytes(premultiplied, samples.shape[1::-1], samples.tobytes())
    return picture.convert("LA" if premultiplied == "La" else "RGBA")
