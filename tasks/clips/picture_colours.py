"""The code points by which PNG, HEIC and AVIF say what their numbers mean, where no ICC profile says it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from tasks.clips.colour_codes import colours_of, icc_profile
from tasks.corpora.media import Media, first_bytes

_HEAD_BYTES = 2**20  # of a PNG before its pixels, of an AVIF its description of itself
_PNG_BEGIN = 8
_FULL_BOX = 4  # version and flags


def settle_colours(image: Image.Image, media: Media | Path) -> None:
    """Gives an opened image the ICC profile of its code points; ValueError for HDR pictures (PQ, HLG).

    A profile of the file's own goes first, as it does in viewers, except in PNG.
    """
    if image.format == "PNG":
        codes = _of_png(_head(media))
    elif image.info.get("icc_profile"):
        return
    elif image.format == "HEIF":
        nclx = image.info.get("nclx_profile") or {}
        codes = nclx.get("color_primaries", 0), nclx.get("transfer_characteristics", 0)
    elif image.format == "AVIF":
        codes = _of_primary_item(_head(media))
    else:
        return
    if codes is not None and (profile := icc_profile(colours_of(*map(int, codes)))) is not None:
        image.info["icc_profile"] = profile


def _head(media: Media | Path) -> bytes:
    """The first bytes; an open file is left where it was, since its pixels may be read from there."""
    if isinstance(media, str | Path):
        return first_bytes(media, _HEAD_BYTES)
    place = media.tell()
    try:
        return first_bytes(media, _HEAD_BYTES)
    finally:
        media.seek(place)


def _of_png(head: bytes) -> tuple[int, int] | None:
    at = _PNG_BEGIN
    while at + 8 <= len(head):
        size, kind = struct.unpack_from(">I4s", head, at)
        if kind == b"cICP" and size >= 2 and at + 10 <= len(head):
            return head[at + 8], head[at + 9]
        if kind == b"IDAT":
            break
        at += size + 12
    return None


def _of_primary_item(head: bytes) -> tuple[int, int] | None:
    """Reads the properties that belong to the picture that is shown: others may be HDR where this one is not."""
    meta = next((body for kind, body in _boxes(head) if kind == b"meta"), b"")
    parts = dict(_boxes(meta[_FULL_BOX:]))
    properties = dict(_boxes(parts.get(b"iprp", b"")))
    listed = list(_boxes(properties.get(b"ipco", b"")))
    try:
        places = _places(properties.get(b"ipma", b""), _primary(parts.get(b"pitm", b"")))
    except (struct.error, IndexError):
        return None
    for place in places:
        if 0 < place <= len(listed):
            kind, body = listed[place - 1]
            if kind == b"colr" and body[:4] == b"nclx" and len(body) >= 8:
                primaries, transfer = struct.unpack_from(">HH", body, 4)
                return primaries, transfer
    return None


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields the kind and the body of every box that is there, the last one as far as it goes."""
    at = 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        begin = at + 8
        if size == 1 and begin + 8 <= len(data):
            size, begin = struct.unpack_from(">Q", data, begin)[0], begin + 8
        end = at + size if size else len(data)
        yield kind, data[begin:end]
        if end <= at:
            return
        at = end


def _primary(pitm: bytes) -> int:
    return int(struct.unpack_from(">I" if pitm[0] else ">H", pitm, _FULL_BOX)[0])


def _places(ipma: bytes, item: int) -> list[int]:
    """Gives the places, from 1 on, of an item's properties in the list of all."""
    version, wide = ipma[0], ipma[3] & 1
    at = _FULL_BOX + 4
    for _ in range(struct.unpack_from(">I", ipma, _FULL_BOX)[0]):
        number = struct.unpack_from(">I" if version else ">H", ipma, at)[0]
        at += 4 if version else 2
        count, at = ipma[at], at + 1
        places = struct.unpack_from(f">{count}{'H' if wide else 'B'}", ipma, at)
        at += count * (2 if wide else 1)
        if number == item:
            return [place & (0x7FFF if wide else 0x7F) for place in places]
    return []
