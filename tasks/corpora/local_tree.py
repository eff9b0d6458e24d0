"""The files of a corpus in a local folder: one walk, no link followed out of it."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from tasks.corpora.companions import is_companion
from tasks.corpora.tree import MISSING, NOT_A_FILE, OUTSIDE, FoundFile, Listing, is_media, reason_of
from tasks.errors import RequestError


class LocalTree:
    """A local folder; see `Tree`. The file that `named` is may be a link to anywhere: the user has named it."""

    def __init__(self, folder: Path, named: str | None = None) -> None:
        self._folder = os.path.abspath(folder)
        self._named = named
        self._real = Path(os.path.realpath(folder))
        self._inside: dict[str, bool] = {}

    @property
    def root(self) -> str:
        return self._folder

    def listing(self, suffixes: Collection[str]) -> Listing:
        files, others = [], []
        folders = [""]
        while folders:
            prefix = folders.pop()
            for entry in self._entries(prefix):
                if is_companion(entry.name):
                    continue
                name = prefix + entry.name
                if entry.is_dir(follow_symlinks=False):  # links to folders are not followed: they may loop
                    folders.append(name + "/")
                elif is_media(name, suffixes):
                    files.append(self._found(name, entry))
                else:
                    others.append(name)
        files.sort(key=lambda file: file.name)
        return Listing({file.name: file for file in files}, frozenset(others))

    def find(self, name: str) -> FoundFile:
        path = os.path.join(self._folder, name)
        folder, base = os.path.split(path)
        try:
            if base not in ("", ".", "..") and self._is_inside(folder):
                status = os.stat(path) if name == self._named else os.lstat(path)
                if not stat.S_ISLNK(status.st_mode):
                    return _file(name, path, status)
        except FileNotFoundError:
            return FoundFile(name, path, problem=MISSING)
        except (OSError, ValueError) as error:  # no permission, a file for a folder, a NUL in a name
            return FoundFile(name, path, problem=f"cannot be read: {reason_of(error)}")
        return self._resolved(name, path)

    def open(self, name: str) -> BinaryIO:
        return open(os.path.join(self._folder, name), "rb")

    def heads(self, names: Sequence[str], size: int) -> Iterator[bytes | None]:
        for name in names:
            try:
                # Whatever lies beside a source may be a pipe or a link out of the corpus.
                if self.find(name).problem is not None:
                    yield None
                    continue
                with self.open(name) as file:
                    yield file.read(size)
            except OSError:
                yield None

    def beside(self, name: str) -> LocalTree | None:
        folder = Path(self._folder).parent / name
        return LocalTree(folder) if folder.is_dir() else None

    def _entries(self, prefix: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(os.path.join(self._folder, prefix)) as entries:
                return list(entries)
        except OSError as error:
            if prefix:
                return []  # a folder that may not be entered has no files for us
            raise RequestError(f"{self._folder}: cannot be listed: {reason_of(error)}") from None

    def _found(self, name: str, entry: os.DirEntry[str]) -> FoundFile:
        if entry.is_symlink():
            return self._resolved(name, entry.path)
        try:
            return _file(name, entry.path, entry.stat(follow_symlinks=False))
        except OSError as error:
            return FoundFile(name, entry.path, problem=f"cannot be read: {reason_of(error)}")

    def _is_inside(self, folder: str) -> bool:
        """Tells whether a folder lies in the corpus, links resolved; remembered, for files come folder by folder."""
        inside = self._inside.get(folder)
        if inside is None:
            inside = self._inside[folder] = Path(os.path.realpath(folder)).is_relative_to(self._real)
        return inside

    def _resolved(self, name: str, path: str) -> FoundFile:
        """Gives the slow way, for links and for names with dots."""
        try:
            if not Path(path).resolve(strict=True).is_relative_to(self._real):
                return FoundFile(name, path, problem=OUTSIDE)
            return _file(name, path, os.stat(path))
        except FileNotFoundError:
            # The path may point outside even where nothing lies.
            inside = Path(os.path.normpath(path)).is_relative_to(self._folder)
            return FoundFile(name, path, problem=MISSING if inside else OUTSIDE)
        except (OSError, RuntimeError, ValueError) as error:  # links in a circle, no permission
            return FoundFile(name, path, problem=f"cannot be read: {reason_of(error)}")


def _file(name: str, path: str, status: os.stat_result) -> FoundFile:
    if not stat.S_ISREG(status.st_mode):
        return FoundFile(name, path, problem=NOT_A_FILE)
    return FoundFile(name, path, status.st_size, status.st_mtime_ns)
