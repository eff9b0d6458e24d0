"""Parts of Stable Diffusion models, from folders or the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from vidrd_model.errors import ModelError
from vidrd_model.temporal_layers import TEMPORAL_MARK


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
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(f"{source}: its {part} cannot be loaded ({lines[0]})") from error


def take_image_weights(model: Any, image_model: Any) -> Any:
    """Gives a fresh video model the image model's weights; in its dtype and eval mode. ModelError when they misfit."""
    missing, unexpected = model.load_state_dict(image_model.state_dict(), strict=False)
    missing = [key for key in missing if TEMPORAL_MARK not in key]
    if missing or unexpected:
        raise ModelError(
            f"{type(image_model).__name__} does not fit {type(model).__name__}: "
            f"missing {missing[:5]}, unexpected {unexpected[:5]}"
        )
    return model.to(image_model.dtype).eval()
