"""Folders that a request names for what is to be made: refused before any work when nothing can come of it."""

from __future__ import annotations

import os
from pathlib import Path

from storage.dataset.folder import table_exists
from storage.local.folders import why_unusable
from tasks.corpora.tree import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from tasks.errors import RequestError

_MEDIA = (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES, ".parquet", ".tar")
_LOOKED_AT = 20_000
"""Files at most: a folder of media says so soon, and a home folder has millions."""


def check_output_folder(folder: Path, field: str) -> None:
    """RequestError that names the field when files cannot be written into this folder, which need not be there yet."""
    problem = why_unusable(folder)
    if problem is not None:
        raise RequestError(f"{field}: {problem}")


def check_output_file(file: Path, field: str) -> None:
    """Raises RequestError that names the field when this file cannot be written, or is a folder."""
    check_output_folder(file.parent, field)
    try:
        if file.is_dir():
            raise RequestError(f"{field}: {file} is a folder; name a file in it")
    except OSError as error:
        raise RequestError(f"{field}: {file}: cannot be written: {error.strerror}") from error


def check_dataset_folder(folder: Path) -> None:
    """Raises RequestError when no dataset can be written there, or when the folder is one of media instead."""
    check_output_folder(folder, "dataset")
    if table_exists(folder, "clips"):
        return
    media = _first_media(folder)
    if media is not None:
        raise RequestError(
            f"dataset: {folder}: holds media ({media}) and no dataset; name a folder of its own for the tables, and "
            "that of the media as `path` in the corpora file"
        )


def _first_media(folder: Path) -> str | None:
    """Gives a file of media in the folder or below it, by its path inside."""
    seen = 0
    for inside, _, names in os.walk(folder):
        for name in sorted(names):
            if name.lower().endswith(_MEDIA):
                return os.path.relpath(os.path.join(inside, name), folder)
        seen += len(names)
        if seen > _LOOKED_AT:
            return None
    return None
