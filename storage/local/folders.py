"""Whether a folder is one that can be used: on this machine's file systems, there or possible, and to be written."""

import re
import tempfile
from pathlib import Path

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


def is_address(path: Path | str) -> bool:
    """Tells whether it is an address like `s3://bucket/x`, also where it was made a path (`s3:/bucket/x`)."""
    return _ADDRESS.match(str(path)) is not None


def why_unusable(folder: Path | str) -> str | None:
    """Why files cannot be written into this folder, or into it once it is made; None when they can.

    It is tried in the folder, or in what there is above it, with a file that has no name: nothing is left of it, and no
    folder is made.
    """
    if is_address(folder):
        return f"{folder}: is an address, and this has to be a local folder"
    nearest = Path(folder).absolute()
    try:
        while not _is_there(nearest):
            nearest = nearest.parent
        if nearest.is_symlink() and not nearest.exists():
            return f"{nearest}: is a link to nothing"
        if not nearest.is_dir():
            return f"{nearest}: is a file, not a folder"
        with tempfile.TemporaryFile(dir=nearest):
            return None
    except OSError as error:
        return f"{nearest}: cannot be written: {error.strerror or error}"
    except ValueError as error:  # a NUL in the path
        return f"{nearest}: is no path: {error}"


def _is_there(path: Path) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
