"""The model a training starts from: a VidRD folder, or an image model that gets fresh temporal layers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vidrd_model import TemporalVAE, VidRDPipeline


def load_base(model: str | Path) -> VidRDPipeline:
    """Load a model folder or hub name in float32; Stable Diffusion's layout becomes a video model."""
    from diffusers import DiffusionPipeline

    from vidrd_model import TemporalUNet, VidRDPipeline

    _hide_progress_bars()
    parts = DiffusionPipeline.load_config(str(model))
    if parts["unet"][1] != "UNet2DConditionModel":
        return VidRDPipeline.from_pretrained(model)
    unet = TemporalUNet.from_image_unet(_load_part(model, parts, "unet"))
    others = {name: _load_part(model, parts, name) for name in ("text_encoder", "tokenizer", "scheduler")}
    return VidRDPipeline(unet=unet, vae=load_base_vae(model), **others)


def load_base_vae(model: str | Path) -> TemporalVAE:
    """Load the VAE alone, with fresh temporal layers when it is an image model's."""
    from diffusers import DiffusionPipeline

    from vidrd_model import TemporalVAE

    parts = DiffusionPipeline.load_config(str(model))
    if parts["vae"][1] == "AutoencoderKL":
        return TemporalVAE.from_image_vae(_load_part(model, parts, "vae"))
    return TemporalVAE.from_pretrained(model, subfolder="vae")


def _load_part(model: str | Path, parts: dict[str, Any], name: str) -> Any:
    import importlib

    library, class_name = parts[name]
    return getattr(importlib.import_module(library), class_name).from_pretrained(model, subfolder=name)


def _hide_progress_bars() -> None:
    """Our own progress lines are what the terminal is for."""
    import diffusers.utils.logging
    import transformers.utils.logging

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
