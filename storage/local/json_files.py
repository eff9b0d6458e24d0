"""Small JSON files beside the tables, whose change is all or nothing."""

import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from storage.errors import StorageError

PARTIAL = ".partial"
"""The ending of a file that is being written: what a crash leaves under it counts for nothing."""


def read_json(path: Path) -> Any:
    """Gives the file's content, None when there is no such file; StorageError when it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise StorageError(f"{path}: is not JSON: {error}") from error


def to_json(content: Any, indent: int = 1, default: Callable[[Any], Any] | None = None) -> str:
    """JSON that every reader takes: a float that is not finite, for which JSON has no name, is null."""
    return json.dumps(_finite(content), indent=indent, ensure_ascii=False, default=default, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value


def write_json(path: Path, content: Any) -> None:
    """Writes JSON so that a crash leaves either the old file or the new one; StorageError when it cannot be."""
    partial = path.with_suffix(PARTIAL)
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(to_json(content))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from error
