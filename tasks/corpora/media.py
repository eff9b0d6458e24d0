"""Opens the bytes of a source wherever they lie, and names them by their content."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from tasks.corpora.file_slice import FileSlice
from tasks.corpora.parquet_cell import read_cell
from tasks.corpora.records import MediaPlace
from tasks.corpora.remote_tree import changed_ns, open_address
from tasks.corpora.tree import MISSING, NOT_A_FILE, reason_of
from tasks.errors import ItemError

Media = str | BinaryIO
"""What the decoders take: a local path, or a seekable binary file with a `name`."""


class _Cell(io.BytesIO):
    """Bytes in memory that messages can name."""

    name: str


def media_name(media: Media | Path) -> str:
    """Tells what messages call it: the file's name, as far as it has one."""
    if isinstance(media, str | Path):
        return os.path.basename(media)
    return os.path.basename(str(getattr(media, "name", "") or "file in memory"))


def first_bytes(media: Media | Path, size: int) -> bytes:
    """Gives the first bytes of a file, fewer where it is shorter, none where it cannot be read at all."""
    try:
        if isinstance(media, str | Path):
            with open(media, "rb") as file:
                return file.read(size)
        media.seek(0)
        return media.read(size)
    except OSError:
        return b""


@contextmanager
def open_media(place: MediaPlace) -> Iterator[Media]:
    """Gives a local path for a whole local file, a seekable binary file for anything else.

    Raises ItemError (stage `read`) when the file is gone or cannot be opened; reading from the file raises
    the same.
    """
    if place.offset is None and place.row is None and "://" not in place.url:
        _status(place.url)
        yield place.url
        return
    with _open_part(place) as file:
        yield file


def content_digest(place: MediaPlace) -> str:
    """blake2b-128 of the bytes, as hexadecimal digits; ItemError (stage `read`) when they cannot be read."""
    with open_media(place) as media:
        try:
            with open(media, "rb") if isinstance(media, str) else media as file:
                digest = hashlib.file_digest(cast(Any, file), lambda: hashlib.blake2b(digest_size=16))
        except OSError as error:
            raise _unreadable(media_name(media), error) from None
    return digest.hexdigest()


def _open_part(place: MediaPlace) -> BinaryIO:
    base = os.path.basename(place.url)
    file = _open_whole(place.url)
    if place.offset is not None:
        return cast(BinaryIO, FileSlice(file, f"{base}@{place.offset}", place.offset, place.size))
    if place.row is None:
        return file

    with file:
        try:
            cell = _Cell(read_cell(file, place, _identity(place.url)))
        except ItemError as error:
            raise ItemError(f"{base}: {error}", stage="read") from None
    cell.name = f"{base}#{place.row}"
    return cell


def _open_whole(url: str) -> BinaryIO:
    if "://" in url:
        return open_address(url)
    _status(url)
    try:
        return open(url, "rb")
    except OSError as error:
        raise _unreadable(os.path.basename(url), error) from None


def _status(path: str) -> os.stat_result:
    try:
        status = os.stat(path)
    except OSError as error:
        raise _unreadable(os.path.basename(path), error) from None
    if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for
        raise ItemError(f"{os.path.basename(path)}: {NOT_A_FILE}", stage="read")
    return status


def _identity(url: str) -> tuple[object, ...]:
    """Tells what differs when the content of a file has changed."""
    if "://" in url:
        return url, changed_ns(url)
    status = _status(url)
    return url, status.st_size, status.st_mtime_ns


def _unreadable(name: str, error: OSError) -> ItemError:
    reason = MISSING if isinstance(error, FileNotFoundError) else f"cannot be read: {reason_of(error)}"
    return ItemError(f"{name}: {reason}", stage="read")
