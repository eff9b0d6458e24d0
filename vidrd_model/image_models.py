"""Parts of Stable Diffusion models, from folders or the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
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
        raise ModelError(f"{source}: its {part} cannot be loaded ({_first_line(error)})") from error


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


def load_image_parts(source: str | Path) -> dict[str, Any]:
    """Loads the text encoder, tokenizer and scheduler of a Stable Diffusion folder or hub id, in float32.

    Raises ModelError, naming the source, when it is no image model or a part cannot be loaded.
    """
    name, revision = split_revision(source)
    try:
        index = diffusers.DiffusionPipeline.load_config(name, revision=revision)
    except (OSError, ValueError) as error:
        raise ModelError(f"{source}: no model folder or hub id ({_first_line(error)})") from error
    kind = (index.get("unet") or (None, "nothing"))[1]
    if kind != "UNet2DConditionModel":
        raise ModelError(
            f"{source}: its UNet is a {kind}, not that of an image model of Stable Diffusion 1 or 2"
        )
    return {
        part: _load_part(name, revision, index.get(part) or (None, None), part)
        for part in ("text_encoder", "tokenizer", "scheduler")
    }


def _load_part(name: str, revision: str | None, named: tuple[str | None, str | None], part: str) -> Any:
    library, class_name = named
    # The folder may come from anybody: the name of a library in it must not import what it likes.
    part_class = getattr(
        {"diffusers": diffusers, "transformers": transformers}.get(library or ""), class_name or "", None
    )
    if part_class is None:
        kind = f"{library}.{class_name}"
        raise ModelError(f"{name}: its {part} is a {kind}, which neither diffusers nor transformers has")
    precision = {"dtype": torch.float32} if part == "text_encoder" else {}
    try:
        return part_class.from_pretrained(
            name, subfolder=part, revision=revision, trust_remote_code=False, **precision
        )
    except (OSError, ValueError) as error:
        raise ModelError(f"{name}: its {part} cannot be loaded ({_first_line(error)})") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
