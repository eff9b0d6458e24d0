"""The model folder that a training of LoRA layers writes: an ordinary one, and beside it the layers as files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from tasks.training.base_model import load_base, new_folder
from tasks.training.model_card import public_name
from tasks.training.optimizers import load_weights
from tasks.training.settings import TemporalSettings
from tasks.training.trained_layers import set_trained
from vidrd_model.lora_training import LORA_MARK, fold_lora, write_lora
from vidrd_model.temporal_file import write_temporal_layers

LORA_FOLDER = "lora"
TEMPORAL_LAYERS_FILE = "temporal_layers.safetensors"


def save_trained_lora(
    base_model_dir: str, out_dir: Path, settings: TemporalSettings, weights: Mapping[str, torch.Tensor]
) -> None:
    """Writes the base model with the trained layers folded in, and beside it, in `lora/`, these layers as files.

    Those of image layers load in any pipeline of Stable Diffusion, temporal LoRA layers in VidRDPipeline, and whole
    temporal layers by `VidRDPipeline.from_image_model`.
    """
    pipe = load_base(base_model_dir)
    with new_folder(out_dir) as partial:
        files = partial / LORA_FOLDER
        files.mkdir(parents=True)
        temporal = {name: value for name, value in weights.items() if LORA_MARK not in name}
        if temporal:
            load_weights(dict(pipe.unet.named_parameters()), temporal)
            name = public_name(base_model_dir)
            write_temporal_layers(pipe, pipe, files / TEMPORAL_LAYERS_FILE, f"a training of {name}", name)
        set_trained(pipe.unet, settings)
        load_weights(dict(pipe.unet.named_parameters()), weights)
        write_lora(pipe.unet, files)
        fold_lora(pipe.unet)
        pipe.save_pretrained(partial)
