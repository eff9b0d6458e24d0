"""HEVC with alpha, as Apple's devices write it: a second layer that no decoder here reads, told by a stream's notes."""

from __future__ import annotations

from collections.abc import Iterator

from av.video.stream import VideoStream

_NOTES, _NOTES_BEHIND = 39, 40  # units of supplemental information, ISO/IEC 23008-2
_ALPHA_CHANNEL = 165
_RECORD_VERSION, _ARRAYS_AT = 1, 22  # in the configuration record of MP4 and Matroska, ISO/IEC 14496-15
_START = b"\0\0\1"
_UNIT_HEADER_BYTES = 2


def has_alpha_layer(stream: VideoStream, first: bytes) -> bool:
    """Tells whether a stream says that a layer of it is how transparent the other one is; `first` is its first packet.

    MP4 and Matroska keep what they say beside the pictures, transport streams before each one that may be begun at.
    """
    context = stream.codec_context
    if context is None or context.name != "hevc":
        return False
    return any(_says_alpha(part) for part in (bytes(context.extradata or b""), first))


def _says_alpha(data: bytes) -> bool:
    try:
        return any(
            kind == _ALPHA_CHANNEL and note[:1] < b"\x80"  # the first bit takes an earlier note back
            for unit in _units(data)
            if unit[0] >> 1 & 63 in (_NOTES, _NOTES_BEHIND)
            for kind, note in _notes(unit)
        )
    except IndexError:
        return False  # cut off: its frames will say what is wrong


def _units(data: bytes) -> Iterator[bytes]:
    """Yields the units as transport streams have them, or those of the record that stands before all elsewhere."""
    if data.startswith((_START, b"\0" + _START)):
        yield from (unit for unit in data.split(_START) if len(unit) > _UNIT_HEADER_BYTES)
        return
    if len(data) <= _ARRAYS_AT or data[0] != _RECORD_VERSION:
        return
    at = _ARRAYS_AT + 1
    for _ in range(data[_ARRAYS_AT]):
        count, at = int.from_bytes(data[at + 1 : at + 3], "big"), at + 3
        for _ in range(count):
            size = int.from_bytes(data[at : at + 2], "big")
            if size > _UNIT_HEADER_BYTES:
                yield data[at + 2 : at + 2 + size]
            at += 2 + size


def _notes(unit: bytes) -> Iterator[tuple[int, bytes]]:
    """Yields the kind and the content of each note of a unit."""
    data = unit[_UNIT_HEADER_BYTES:].replace(b"\0\0\3", b"\0\0")  # a 3 keeps zeros from looking like a start
    at = 0
    while at + 2 <= len(data):
        kind, at = _number(data, at)
        size, at = _number(data, at)
        yield kind, data[at : at + size]
        at += size


def _number(data: bytes, at: int) -> tuple[int, int]:
    """Reads a number that goes on behind every 255; gives it and where it ends."""
    value = 0
    while data[at] == 255:
        value, at = value + 255, at + 1
    return value + data[at], at + 1
