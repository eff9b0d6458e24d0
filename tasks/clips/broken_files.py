"""Why a file that ought to hold media holds none, where its bytes tell it: what downloads leave when they fail."""

from __future__ import annotations

import os
import struct
from pathlib import Path

from tasks.corpora.media import Media, first_bytes

_HEAD_BYTES = 512
_MARKUP = (b"<!doctype", b"<html", b"<?xml", b"<head", b"<svg")
_LFS = b"version https://git-lfs.github.com/"
_INDEX, _BOX_BYTES, _LARGE_BOX_BYTES = b"moov", 8, 16
_MOST_BOXES = 10_000


def what_is_wrong(media: Media | Path) -> str | None:
    """Tells what a file that cannot be decoded is, in words that go on with "it"; None where nothing tells it."""
    try:
        size, head = _size(media), first_bytes(media, _HEAD_BYTES)
        if not head:
            return "is empty (0 bytes)" if size == 0 else None
        if head.startswith(_LFS):
            return "is a pointer of Git LFS and not the file itself; `git lfs pull` fetches that"
        if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_MARKUP):
            return "is a page of HTML or XML, as servers send it instead of a file"
        if not head.strip(b"\0"):
            return "begins with zeros alone, as a download does that was never finished"
        if _is_text(head):
            return "is text"
        return _wrong_boxes(media, size) if head[4:8] == b"ftyp" else None
    except OSError:
        return None


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.end < len(head):  # else a character goes on behind what was read
            return False
        text = head[: error.start].decode("utf-8")
    return all(letter.isprintable() or letter.isspace() for letter in text)


def _wrong_boxes(media: Media | Path, size: int) -> str | None:
    """Tells whether an MP4 or MOV is cut off, by the boxes that it consists of."""
    start, has_index = 0, False
    for _ in range(_MOST_BOXES):
        if start + _BOX_BYTES > size:
            break
        head = _bytes_at(media, start, _LARGE_BOX_BYTES)
        length, kind = struct.unpack(">I4s", head[:_BOX_BYTES])
        if length == 1 and len(head) == _LARGE_BOX_BYTES:
            length = struct.unpack(">Q", head[_BOX_BYTES:])[0]
        has_index = has_index or kind == _INDEX
        if length == 0:  # it goes on to the end
            break
        if length < _BOX_BYTES:
            return None
        start += length
        if start > size:
            return f"is cut off: {size} of at least {start} bytes are there"
    return None if has_index else "has no index (moov): it was not written or downloaded to its end"


def _size(media: Media | Path) -> int:
    if isinstance(media, str | Path):
        return os.path.getsize(media)
    return media.seek(0, os.SEEK_END)


def _bytes_at(media: Media | Path, place: int, count: int) -> bytes:
    if not isinstance(media, str | Path):
        media.seek(place)
        return media.read(count)
    with open(media, "rb") as file:
        file.seek(place)
        return file.read(count)
