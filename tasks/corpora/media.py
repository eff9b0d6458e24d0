"""Opens the bytes of a source wherever they lie, and names them by their content."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from tasks.corpora.records import MediaPlace

Media = str | BinaryIO
"""What the decoders take: a local path, or a seekable binary file."""


def media_name(media: Media | Path) -> str:
    """What messages call it: the file's name, as far as it has one."""
    return os.path.basename(media) if isinstance(media, str | Path) else "file in memory"


@contextmanager
def open_media(place: MediaPlace) -> Iterator[Media]:
    """A local path for a whole local file, a seekable binary file for anything else."""
    yield place.url


def content_digest(place: MediaPlace) -> str:
    """blake2b-128 of the bytes, as hexadecimal digits; OSError when they cannot be read."""
    with open(place.url, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
