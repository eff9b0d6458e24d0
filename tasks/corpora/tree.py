"""The files of a corpus, wherever it lies: what the readers ask of a local folder or an address."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol

# fmt: off
VIDEO_SUFFIXES = (
    ".3g2", ".3gp", ".asf", ".avi", ".divx", ".f4v", ".flv", ".gif", ".m1v", ".m2t", ".m2ts", ".m2v", ".m4v", ".mk3d",
    ".mkv", ".mov", ".mp4", ".mpe", ".mpeg", ".mpg", ".mts", ".ogm", ".ogv", ".qt", ".ts", ".vob", ".webm", ".wmv",
)
IMAGE_SUFFIXES = (
    ".apng", ".avif", ".bmp", ".dib", ".gif", ".heic", ".heif", ".hif", ".j2c", ".j2k", ".jfif", ".jp2", ".jpe",
    ".jpeg", ".jpf", ".jpg", ".jpx", ".jxl", ".png", ".tif", ".tiff", ".webp",
)
# fmt: on
# Of UTF-16, as JSON may hold them alone; the others stand for bytes of names that are no UTF-8.
_HALVES = re.compile("[\ud800-\udc7f\udd00-\udfff]")
_PART = re.compile(r"(?:#\d+| \(\d+\))$")  # a row of a table, one of several members of a name
OUTSIDE = "lies outside its corpus"
MISSING = "no such file"
NOT_A_FILE = "is not a regular file"


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file of a corpus: its path inside it, its path or address, and what is wrong with it, if anything.

    The time of change is 0 where nothing tells it; a file with a problem has neither size nor time.
    """

    name: str
    url: str
    size_bytes: int = 0
    mtime_ns: int = 0
    problem: str | None = None


@dataclass(frozen=True)
class Listing:
    """The files of interest by their names, in their order, and the names of all other files but companions."""

    files: dict[str, FoundFile]
    others: frozenset[str]


class Tree(Protocol):
    """A folder of a corpus; names are paths inside it with slashes, whatever reads outside is refused."""

    @property
    def root(self) -> str:
        """Where it lies, for messages."""

    def listing(self, suffixes: Collection[str]) -> Listing:
        """Gives all files below; those with a suffix are of interest. RequestError when it cannot be listed."""

    def find(self, name: str) -> FoundFile:
        """One file by its name; a file that is not there has its problem."""

    def open(self, name: str) -> BinaryIO:
        """Gives a seekable file; OSError or ItemError when it cannot be read."""

    def heads(self, names: Sequence[str], size: int) -> Iterator[bytes | None]:
        """Gives the first bytes of each file, in order; None for a file that cannot be read."""

    def beside(self, name: str) -> Tree | None:
        """Gives the folder of that name beside this one, if there is one."""


def is_missing(problem: str | None) -> bool:
    """Tells whether a problem is that a file is not there, whatever else it says."""
    return problem is not None and (problem == MISSING or problem.startswith(f"{MISSING}: "))


def is_media(name: str, suffixes: Collection[str]) -> bool:
    """Tells whether a name has one of the suffixes, and neither the file nor a folder that it lies in is hidden."""
    return posixpath.splitext(name)[1].lower() in suffixes and not is_hidden(name)


def is_hidden(name: str) -> bool:
    """Tells whether a part of a name begins with a dot: `.cache`, `.ipynb_checkpoints` and the like hold copies."""
    return any(part.startswith(".") and part not in (".", "..") for part in name.split("/"))


def suffix_of(name: str) -> str:
    """Gives the suffix of a name in lower case, also of a row or a member, for people to read."""
    return posixpath.splitext(_PART.sub("", name))[1].lower()[:20] or "no suffix"


def media_suffixes(kind: str) -> tuple[str, ...]:
    """Gives the suffixes of files that a corpus of this kind holds."""
    return IMAGE_SUFFIXES if kind == "images" else VIDEO_SUFFIXES


def uri_of(name: str) -> str:
    r"""A name as text that can be stored; bytes that are no UTF-8 are written as \xNN, half a character as \uNNNN."""
    whole = _HALVES.sub(lambda half: f"\\u{ord(half[0]):04x}", name)
    return whole.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def reason_of(error: BaseException) -> str:
    """Why something cannot be read, in one line."""
    text = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
    return text[:300]
