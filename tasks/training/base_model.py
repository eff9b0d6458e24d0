"""The model folder that a training starts from, and the one that it writes.

It starts from a VidRD folder, or from an image model, which gets fresh temporal layers.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import diffusers
import diffusers.utils.logging
import torch
import transformers.utils.logging

from tasks.training.optimizers import load_weights
from vidrd_model import TemporalVAE, VidRDPipeline
from vidrd_model.image_models import split_revision


def load_base(model: str | Path) -> VidRDPipeline:
    """Loads a model folder or hub id (`id@revision` pins it) in float32; an image model becomes a video model."""
    _hide_progress_bars()
    name, revision = split_revision(model)
    components = diffusers.DiffusionPipeline.load_config(name, revision=revision)
    if components["unet"][1] != "UNet2DConditionModel":
        return VidRDPipeline.from_pretrained(name, revision=revision)
    return VidRDPipeline.from_image_model(model)


def load_base_vae(model: str | Path) -> TemporalVAE:
    """Loads the VAE alone, with fresh temporal layers when it is an image model's."""
    name, revision = split_revision(model)
    components = diffusers.DiffusionPipeline.load_config(name, revision=revision)
    if components["vae"][1] == "AutoencoderKL":
        return TemporalVAE.from_image_vae(model)
    return TemporalVAE.from_pretrained(name, subfolder="vae", revision=revision)


def save_trained(
    base_model_dir: str | Path,
    out_dir: Path,
    component: str,
    weights: Mapping[str, torch.Tensor],
    **settings: Any,
) -> None:
    """Writes the base model with trained weights and `settings` in its `component`, "unet" or "vae"."""
    pipe = load_base(base_model_dir)
    trained = getattr(pipe, component)
    load_weights(dict(trained.named_parameters()), weights)
    trained.register_to_config(**settings)
    with new_folder(out_dir) as partial:
        pipe.save_pretrained(partial)


@contextmanager
def new_folder(out_dir: Path) -> Iterator[Path]:
    """A folder that has its name only once it is whole, in the place of what a call left that was cut off."""
    partial = out_dir.with_name(f".{out_dir.name}.partial")
    for folder in (partial, out_dir):
        shutil.rmtree(folder, ignore_errors=True)
    yield partial
    partial.rename(out_dir)


def _hide_progress_bars() -> None:
    """Keeps the terminal for the progress lines of the project itself."""
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
