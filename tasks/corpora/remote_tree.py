"""The files of a corpus at an address (s3:// and whatever else fsspec knows), and files opened by address.

Backends raise what their own libraries do; here it becomes one of the two errors of the tasks.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from itertools import islice
from typing import Any, BinaryIO, cast

from fsspec.core import url_to_fs

from tasks.corpora.companions import is_companion
from tasks.corpora.file_slice import FileSlice
from tasks.corpora.tree import MISSING, NOT_A_FILE, OUTSIDE, FoundFile, Listing, is_media, reason_of
from tasks.errors import ItemError, RequestError

MEDIA_BLOCK_BYTES = 2 * 2**20
HEADER_BLOCK_BYTES = 256 * 2**10
"""For files of which a little is read here and there."""
CACHED_BLOCKS = 16
HEADS_AT_ONCE = 128
ASKED_ONE_BY_ONE = 8


class RemoteTree:
    """A folder at an address; see `Tree`.

    It is listed once; a few files are asked for one by one, for a bucket may be large or its list forbidden.
    """

    def __init__(self, address: str) -> None:
        self._address = address.rstrip("/")
        self._asked = 0

    @property
    def root(self) -> str:
        return self._address

    def listing(self, suffixes: Collection[str]) -> Listing:
        files = {name: file for name, file in self._files.items() if is_media(name, suffixes)}
        return Listing(files, frozenset(self._files.keys() - files.keys()))

    def find(self, name: str) -> FoundFile:
        if name.startswith("/") or ".." in name.split("/"):
            return FoundFile(name, f"{self._address}/{name}", problem=OUTSIDE)
        if "_files" not in vars(self) and self._asked < ASKED_ONE_BY_ONE:
            self._asked += 1
            return self._ask(name)
        return self._files.get(name) or FoundFile(name, f"{self._address}/{name}", problem=MISSING)

    def open(self, name: str) -> BinaryIO:
        return open_address(f"{self._address}/{name}", HEADER_BLOCK_BYTES)

    def heads(self, names: Sequence[str], size: int) -> Iterator[bytes | None]:
        fs, root = file_system(self._address)
        remaining = iter(names)
        while batch := list(islice(remaining, HEADS_AT_ONCE)):
            # Together, where the backend can: one round trip for each of a million captions takes days.
            paths = [f"{root}/{name}" for name in batch]
            sizes = [min(size, self._files[name].size_bytes) for name in batch]
            try:
                heads = fs.cat_ranges(paths, [0] * len(paths), sizes, on_error="return")
            except Exception:  # by any library; the media beside them will say what is wrong
                heads = [None] * len(paths)
            yield from (head if isinstance(head, bytes) else None for head in heads)

    def beside(self, name: str) -> RemoteTree | None:
        parent = parent_of(self._address)
        tree = RemoteTree(f"{parent}/{name}")
        try:
            return tree if parent and is_there(tree.root) == "directory" else None
        except RequestError:
            return None  # who may read a corpus need not be allowed to look beside it

    def _ask(self, name: str) -> FoundFile:
        url = f"{self._address}/{name}"
        fs, path = file_system(url)
        try:
            info = fs.info(path)
        except FileNotFoundError:
            return FoundFile(name, url, problem=MISSING)
        except Exception as error:  # by any library
            return FoundFile(name, url, problem=f"cannot be read: {reason_of(error)}")
        if info.get("type") != "file":
            return FoundFile(name, url, problem=NOT_A_FILE)
        return FoundFile(name, url, info.get("size") or 0, _time_ns(info))

    @cached_property
    def _files(self) -> dict[str, FoundFile]:
        fs, root = file_system(self._address)
        try:
            found = fs.find(root, detail=True)
        except Exception as error:
            raise RequestError(f"{self._address}: cannot be listed: {reason_of(error)}") from None
        names = {
            path[len(root) :].removeprefix("/"): info for path, info in found.items() if path.startswith(root)
        }
        # Object stores keep empty objects that stand for folders.
        return {
            name: FoundFile(name, f"{self._address}/{name}", info.get("size") or 0, _time_ns(info))
            for name, info in sorted(names.items())
            if name and not name.endswith("/") and not is_companion(name)
        }


def file_system(address: str) -> tuple[Any, str]:
    """Gives the fsspec file system of an address and the path in it.

    RequestError for a protocol that is unknown or whose library is not installed. Credentials and endpoints
    come from the environment.
    """
    try:
        # Listings that fsspec remembers would hide what has changed since, for as long as the process lives.
        fs, _ = url_to_fs(address.split("::")[0], use_listings_cache=False)
    except (ImportError, ValueError, TypeError, OSError) as error:
        raise RequestError(f"{address}: cannot be read: {reason_of(error)}") from None
    # The whole address again: `::` in an object's name is no chain of file systems.
    return fs, fs._strip_protocol(address).rstrip("/")


def is_there(address: str) -> str | None:
    """`file`, `directory` or None; RequestError when the place cannot be reached."""
    fs, path = file_system(address)
    try:
        return cast(str, fs.info(path)["type"])
    except FileNotFoundError:
        return None
    except Exception as error:  # by any library: no credentials, no connection, no permission
        raise RequestError(f"{address}: cannot be reached: {reason_of(error)}") from None


def open_address(url: str, block_bytes: int = MEDIA_BLOCK_BYTES) -> BinaryIO:
    """Gives a seekable file that fetches and keeps blocks; ItemError (stage `read`) when it cannot be opened."""
    name = posixpath.basename(url)
    try:
        fs, path = file_system(url)
        cache = {"cache_type": "blockcache", "cache_options": {"maxblocks": CACHED_BLOCKS}}
        file = fs.open(path, "rb", block_size=block_bytes, **cache)
        if not file.seekable():
            raise OSError("its server gives no parts of files")
        return cast(BinaryIO, FileSlice(file, name))
    except Exception as error:
        reason = MISSING if isinstance(error, FileNotFoundError) else f"cannot be read: {reason_of(error)}"
        raise ItemError(f"{name}: {reason}", stage="read") from None


def parent_of(address: str) -> str | None:
    """Gives the folder that an address lies in, None above a bucket."""
    parent, _, name = address.rstrip("/").rpartition("/")
    return parent if name and not parent.endswith(("/", ":")) else None


def changed_ns(url: str) -> int:
    """Tells when a file was changed, or another number that changes with it; ItemError when it is not there."""
    try:
        fs, path = file_system(url)
        return _time_ns(fs.info(path))
    except Exception as error:
        raise ItemError(f"{posixpath.basename(url)}: cannot be read: {reason_of(error)}", "read") from None


def _time_ns(info: Mapping[str, Any]) -> int:
    """Gives the time of change in ns; else a number that changes with the content, else 0."""
    for key in ("LastModified", "mtime", "last_modified", "updated", "modified", "created"):
        value = info.get(key)
        if isinstance(value, datetime):
            return round(value.timestamp() * 1000) * 10**6
        if isinstance(value, int | float):
            return round(value * 1000) * 10**6
    tag = info.get("ETag") or info.get("etag") or info.get("blob_id")
    if tag:
        return int.from_bytes(hashlib.blake2b(str(tag).encode(), digest_size=8).digest(), "big") >> 1
    return 0
