"""Where the generated world lies and whether a folder is one; imports nothing that takes time."""

from __future__ import annotations

from pathlib import Path

from storage.local.home import home

WORLD_SEED = 7
"""The seed of the world that commands make where no corpora are named."""

FINISHED = "finished.json"
"""Beside the corpora file: which world it is. Written last, so there only with all the rest."""


def world_folder() -> Path:
    """Gives the folder of the world that commands share, under `$VIDRD_HOME`."""
    return home() / "tiny-world"


def is_in_tiny_world(path: Path) -> bool:
    """Tells whether a corpora file or a folder of videos is that of a generated world."""
    return (path.parent / FINISHED).is_file() and (path.parent / "corpora.toml").is_file()
