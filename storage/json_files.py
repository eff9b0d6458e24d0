"""Small JSON files beside the tables, whose change is all or nothing."""

import json
import os
from pathlib import Path
from typing import Any

from storage.errors import StorageError

PARTIAL = ".partial"
"""The ending of a file that is being written: what a crash leaves under it counts for nothing."""


def read_json(path: Path) -> Any:
    """The file's content, None when there is no such file; StorageError when it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise StorageError(f"{path}: is not JSON: {error}") from error


def write_json(path: Path, content: Any) -> None:
    """Write JSON so that a crash leaves either the old file or the new one; StorageError when it cannot be."""
    partial = path.with_suffix(PARTIAL)
    try:
        with partial.open("w", encoding="utf-8") as file:
            json.dump(content, file, indent=1, ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from error
