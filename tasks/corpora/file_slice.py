"""A part of an open file as a file of its own: a member of a tar, or the whole of a remote file."""

from __future__ import annotations

import io
import os
from typing import Any, BinaryIO

from tasks.corpora.tree import reason_of
from tasks.errors import ItemError


class FileSlice(io.RawIOBase):
    """The bytes [offset, offset + size) of a seekable file, to its end without a size; closing closes both.

    Whatever goes wrong while reading is an ItemError of stage `read`, as remote files raise what their
    libraries do.
    """

    def __init__(self, file: BinaryIO, name: str, offset: int = 0, size: int | None = None) -> None:
        self._file = file
        self.name = name
        self._offset = offset
        self._size = file.seek(0, os.SEEK_END) - offset if size is None else size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError(f"a negative position: {start + offset}")
        self._position = start + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        wanted = max(min(len(buffer), self._size - self._position), 0)
        if not wanted:
            return 0
        try:
            self._file.seek(self._offset + self._position)
            data = self._file.read(wanted)
        except Exception as error:
            raise ItemError(f"{self.name}: cannot be read: {reason_of(error)}", stage="read") from error
        if not data:
            raise ItemError(f"{self.name}: cannot be read: it ends too early", stage="read")
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()
