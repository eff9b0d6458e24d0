"""Writes the tiny models as folders: a diffusers pipeline and an open_clip folder, weights in half precision."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import CLIPTextModel, CLIPTokenizer

from tasks.tiny.models.architecture import SAMPLING, clip_folder_config, make_scheduler
from tasks.tiny.models.vocabulary import (
    train_merges,
    vocabulary_size,
    write_open_clip_merges,
    write_tokenizer,
)
from vidrd_model import TemporalUNet, TemporalVAE, VidRDPipeline
from vidrd_model.clip import MERGES_FILE


def write_model_folder(
    folder: Path, unet: TemporalUNet, vae: TemporalVAE, text_encoder: CLIPTextModel
) -> None:
    """Writes a folder that VidRDPipeline.from_pretrained loads."""
    write_tokenizer(folder / "tokenizer", train_merges())
    for module in (unet, vae):
        # Where it was loaded from is nobody's business but this machine's.
        module.register_to_config(_name_or_path="")
    pipe = VidRDPipeline(
        unet=unet.half(),
        vae=vae.half(),
        text_encoder=text_encoder.half(),
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        scheduler=make_scheduler(),
        sampling=SAMPLING,
    )
    pipe.save_pretrained(folder)
    for module in (unet, vae, text_encoder):
        module.float()  # .half() above works in place


def write_clip_folder(folder: Path, clip_model: torch.nn.Module) -> None:
    """Writes a folder that ClipModel.from_folder (and open_clip's local-dir:) loads."""
    folder.mkdir(parents=True, exist_ok=True)
    merges = train_merges()
    config = clip_folder_config(vocabulary_size(merges))
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n")
    write_open_clip_merges(folder / MERGES_FILE, merges)
    weights = {name: value.half().contiguous() for name, value in clip_model.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")
