"""Whether a folder is a generated world; knows no more of it, and imports nothing that takes time."""

from __future__ import annotations

from pathlib import Path

FINISHED = "finished.json"
"""Beside the corpora file: which world it is. Written last, so there only with all the rest."""


def is_in_tiny_world(path: Path) -> bool:
    """Whether a corpora file or a folder of videos is that of a generated world."""
    return (path.parent / FINISHED).is_file() and (path.parent / "corpora.toml").is_file()
