"""What a JPEG XL file says of itself before its pixels (ISO/IEC 18181-1 and -2), as far as showing it hangs on it."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import IO

from tasks.clips.colour_codes import D65, SRGB, Colours, Point, colours_of, gamma_of, refuse_hdr

CODESTREAM, CONTAINER = b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"
# Kinds of channels beside the colours; of alpha, with which the colours were multiplied, there is a flag in the file.
_ALPHA, _SPOT_COLOUR, _BLACK, _FILTER_ARRAY, _PREMULTIPLIED = 0, 2, 4, 5, -1
_GREY, _XYB = 1, 2
_CUSTOM = 2
_HEAD_BYTES, _MOST_BOXES = 65_536, 10_000
_WHITES: dict[int, Point] = {1: D65, 10: (1 / 3, 1 / 3), 11: (0.314, 0.351)}
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_SIZE_BITS = ((1, 9), (1, 13), (1, 18), (1, 30))
_ENUM = ((0, 0), (1, 0), (2, 4), (18, 6))
_CHROMATICITY = ((0, 19), (524_288, 19), (1_048_576, 20), (2_097_152, 21))


@dataclass(frozen=True)
class JpegXlHeader:
    """The size as it is shown, the channels, and what their numbers mean.

    `colours` is None where a profile in the file says it. `is_xyb` is lossy coding by what eyes see; `is_plain` says
    that the first picture is coded as JPEG codes, with colours alone.
    """

    width: int
    height: int
    is_grey: bool
    is_premultiplied: bool
    has_black: bool
    channels: int
    is_animated: bool
    is_xyb: bool
    colours: Colours | None
    is_plain: bool


def read_header(file: IO[bytes]) -> JpegXlHeader:
    """Reads the header of a file; ValueError where it is not there, and for HDR pictures."""
    codestream, is_jpeg = _codestream(file)
    if not codestream.startswith(CODESTREAM):
        raise ValueError("it is cut off before its picture begins")
    return _header(_Bits(codestream[len(CODESTREAM) :]), is_jpeg)


class _Bits:
    """Reads numbers of some bits, the lowest bit of a byte first."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def read(self, count: int) -> int:
        value = 0
        for place in range(count):
            byte, bit = divmod(self._at, 8)
            if byte >= len(self._data):
                raise ValueError("it is cut off before its picture begins")
            value |= (self._data[byte] >> bit & 1) << place
            self._at += 1
        return value

    def flag(self) -> bool:
        return bool(self.read(1))

    def choice(self, cases: tuple[tuple[int, int], ...]) -> int:
        """One of four cases, each an offset and how many bits are added to it (U32 in the standard)."""
        offset, count = cases[self.read(2)]
        return offset + self.read(count)

    def to_byte(self) -> None:
        self._at = -(-self._at // 8) * 8


def _codestream(file: IO[bytes]) -> tuple[bytes, bool]:
    """Gives the beginning of the coded picture, and whether the file is a JPEG that was packed without loss."""
    file.seek(0)
    head = file.read(_HEAD_BYTES)
    if not head.startswith(CONTAINER):
        return head, False
    at, parts, is_jpeg = len(CONTAINER), b"", False
    for _ in range(_MOST_BOXES):
        file.seek(at)
        head = file.read(16)
        if len(head) < 8 or len(parts) >= _HEAD_BYTES:
            break
        size, kind = struct.unpack(">I4s", head[:8])
        begin = at + 8
        if size == 1 and len(head) == 16:
            size, begin = struct.unpack(">Q", head[8:])[0], at + 16
        is_jpeg = is_jpeg or kind == b"jbrd"
        if kind in (b"jxlc", b"jxlp"):
            begin += 4 * (kind == b"jxlp")  # a part has its number before it
            file.seek(begin)
            parts += file.read(min(_HEAD_BYTES, max(0, at + size - begin) if size else _HEAD_BYTES))
        if size < 8 or kind == b"jxlc":  # 0: it goes on to the end
            break
        at += size
    return parts, is_jpeg


def _header(bits: _Bits, is_jpeg: bool) -> JpegXlHeader:
    width, height = _size(bits)
    turned, is_animated, extra, is_xyb, is_grey = False, False, [], True, False
    colours: Colours | None = Colours()
    extended = False
    if not bits.flag():  # else all of that is as most often
        more = bits.flag()
        turned, is_animated = _turned_and_animated(bits) if more else (False, False)
        _bit_depth(bits)
        bits.flag()
        extra = [_extra_channel(bits) for _ in range(bits.choice(((0, 0), (1, 0), (2, 4), (1, 12))))]
        is_xyb = bits.flag()
        is_grey, colours = _colours(bits)
        if more and not bits.flag():  # how bright its display is: numbers of 16 bits, and one that is a flag
            bits.read(16 + 16 + 1 + 16)
        extended = bits.read(2) != 0
    is_plain = not extra and (is_jpeg or (colours is not None and not extended and _is_first_plain(bits)))
    return JpegXlHeader(
        *((height, width) if turned else (width, height)),
        is_grey, _PREMULTIPLIED in extra, _BLACK in extra, (1 if is_grey else 3) + len(extra),
        is_animated, is_xyb, colours, is_plain,
    )  # fmt: skip


def _size(bits: _Bits) -> tuple[int, int]:
    small = bits.flag()
    height = 8 * (1 + bits.read(5)) if small else bits.choice(_SIZE_BITS)
    ratio = bits.read(3)
    if ratio:
        across, down = _RATIOS[ratio - 1]
        return height * across // down, height
    return (8 * (1 + bits.read(5)) if small else bits.choice(_SIZE_BITS)), height


def _turned_and_animated(bits: _Bits) -> tuple[bool, bool]:
    """Tells whether the picture lies on its side and whether it is animated; the preview is passed by."""
    turned = bits.read(3) >= 4
    if bits.flag():
        _size(bits)
    if bits.flag():
        in_eighths = bits.flag()
        sides = (
            ((16, 0), (32, 0), (1, 5), (33, 9)) if in_eighths else ((1, 6), (65, 8), (321, 10), (1345, 12))
        )
        bits.choice(sides)
        if not bits.read(3):
            bits.choice(sides)
    if not bits.flag():
        return turned, False
    bits.choice(((100, 0), (1000, 0), (1, 10), (1, 30)))
    bits.choice(((1, 0), (1001, 0), (1, 8), (1, 10)))
    bits.choice(((0, 0), (0, 3), (0, 16), (0, 32)))
    bits.flag()
    return turned, True


def _bit_depth(bits: _Bits) -> None:
    if bits.flag():
        bits.choice(((32, 0), (16, 0), (24, 0), (1, 6)))
        bits.read(4)
    else:
        bits.choice(((8, 0), (10, 0), (12, 0), (1, 6)))


def _extra_channel(bits: _Bits) -> int:
    """Gives the kind of a channel beside the colours."""
    if bits.flag():
        return _ALPHA
    kind = bits.choice(_ENUM)
    _bit_depth(bits)
    bits.choice(((0, 0), (3, 0), (4, 0), (1, 3)))
    bits.read(8 * bits.choice(((0, 0), (0, 4), (16, 5), (48, 10))))
    if kind == _ALPHA:
        return _PREMULTIPLIED if bits.flag() else _ALPHA
    if kind == _SPOT_COLOUR:
        bits.read(4 * 16)
    elif kind == _FILTER_ARRAY:
        bits.choice(((1, 0), (0, 2), (3, 4), (19, 8)))
    return kind


def _colours(bits: _Bits) -> tuple[bool, Colours | None]:
    """Tells whether there is grey alone, and what the numbers mean; None where a profile says it."""
    if bits.flag():
        return False, Colours()
    has_icc, space = bits.flag(), bits.choice(_ENUM)
    if has_icc:
        return space == _GREY, None
    white, primaries = D65, Colours().primaries
    if space != _XYB:
        kind = bits.choice(_ENUM)
        white = _point(bits) if kind == _CUSTOM else _WHITES.get(kind, D65)
    if space not in (_XYB, _GREY):
        kind = bits.choice(_ENUM)
        custom = kind == _CUSTOM
        primaries = (_point(bits), _point(bits), _point(bits)) if custom else colours_of(kind, SRGB).primaries
    gamma: float | None = None
    if bits.flag():
        power = bits.read(24) / 1e7
        if not 0.1 <= power <= 1:
            raise ValueError("it names a power for its colours that is none")
        gamma = 1 / power
    else:
        transfer = bits.choice(_ENUM)
        refuse_hdr(transfer)
        gamma = gamma_of(transfer)
    bits.choice(_ENUM)
    return space == _GREY, Colours(primaries, white, gamma)


def _point(bits: _Bits) -> Point:
    x, y = (bits.choice(_CHROMATICITY) for _ in range(2))
    signed_x, signed_y = ((value >> 1) ^ -(value & 1) for value in (x, y))
    return signed_x / 1e6, signed_y / 1e6


def _is_first_plain(bits: _Bits) -> bool:
    """Tells whether the first picture is coded in blocks as JPEG codes, and is not kept for others to build on."""
    if not bits.flag():  # transforms of its own
        return False
    bits.to_byte()
    return bits.flag() or (bits.read(2) == 0 and not bits.flag())
