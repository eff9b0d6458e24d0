"""What the registry provides to the model library, which knows nothing of it: the folder of a registered version."""

from __future__ import annotations

from pathlib import Path

from storage.registry.registry import resolve_model


def folder_of(reference: str) -> Path:
    """The folder of `models:/vidrd@champion` or `models:/vidrd/3`; StorageError, one line, when there is none."""
    return resolve_model(reference).folder
