"""The model a training starts from: a VidRD folder, or an image model that gets fresh temporal layers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidrd_model.errors import ModelError

if TYPE_CHECKING:
    from vidrd_model import TemporalVAE, VidRDPipeline


def load_base(model: str | Path) -> VidRDPipeline:
    """Load a model folder or hub id (`id@revision` pins it) in float32; an image model becomes a video model."""
    from diffusers import DiffusionPipeline

    from vidrd_model import TemporalUNet, VidRDPipeline
    from vidrd_model.image_models import split_revision

    _hide_progress_bars()
    name, revision = split_revision(model)
    parts = DiffusionPipeline.load_config(name, revision=revision)
    if parts["unet"][1] != "UNet2DConditionModel":
        return VidRDPipeline.from_pretrained(name, revision=revision)
    others = {
        part: _load_part(name, revision, parts[part], part)
        for part in ("text_encoder", "tokenizer", "scheduler")
    }
    return VidRDPipeline(unet=TemporalUNet.from_image_unet(model), vae=load_base_vae(model), **others)


def load_base_vae(model: str | Path) -> TemporalVAE:
    """Load the VAE alone, with fresh temporal layers when it is an image model's."""
    from diffusers import DiffusionPipeline

    from vidrd_model import TemporalVAE
    from vidrd_model.image_models import split_revision

    name, revision = split_revision(model)
    parts = DiffusionPipeline.load_config(name, revision=revision)
    if parts["vae"][1] == "AutoencoderKL":
        return TemporalVAE.from_image_vae(model)
    return TemporalVAE.from_pretrained(name, subfolder="vae", revision=revision)


def _load_part(model: str, revision: str | None, named: tuple[str, str], part: str) -> Any:
    import diffusers
    import transformers

    library, class_name = named
    # The folder may come from anybody: the name of a library in it must not import what it likes.
    part_class = getattr(
        {"diffusers": diffusers, "transformers": transformers}.get(library), class_name, None
    )
    if part_class is None:
        kind = f"{library}.{class_name}"
        raise ModelError(f"{model}: its {part} is a {kind}, which neither diffusers nor transformers has")
    return part_class.from_pretrained(model, subfolder=part, revision=revision, trust_remote_code=False)


def _hide_progress_bars() -> None:
    """Our own progress lines are what the terminal is for."""
    import diffusers.utils.logging
    import transformers.utils.logging

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
