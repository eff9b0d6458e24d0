"""Parts of Stable Diffusion models, from folders or the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from vidrd_model.errors import ModelError


def split_revision(source: str | Path) -> tuple[str, str | None]:
    """`id@revision` of a hub id as (id, revision); a folder, which may have any name, has no revision."""
    if Path(source).exists() or "@" not in str(source):
        return str(source), None
    name, revision = str(source).rsplit("@", 1)
    return name, revision


def load_image_part(part_class: Any, source: str | Path, part: str) -> Any:
    """Loads one part of a model folder or hub id, or that part's own folder, in float32 and eval mode.

    Safetensors are preferred; a `.bin` is read with `weights_only`, which runs no code. Raises ModelError naming the
    source.
    """
    name, revision = split_revision(source)
    own_folder = (Path(name) / "config.json").is_file()
    try:
        return part_class.from_pretrained(
            name, subfolder=None if own_folder else part, revision=revision, dtype=torch.float32
        )
    except (OSError, ValueError, RuntimeError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(f"{source}: its {part} cannot be loaded ({lines[0]})") from error
