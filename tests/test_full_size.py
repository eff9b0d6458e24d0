"""Stable Diffusion 2.1's full size, random weights in the hub's layout: loads, samples a step, saves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from tasks.training.base_model import load_base
from vidrd_model import VidRDPipeline


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_profile: Any) -> Path:
    """The image model's folder; the tokenizer is the tiny one, all else as large as the real one."""
    folder = tmp_path_factory.mktemp("full") / "stable-diffusion"
    tokenizer = CLIPTokenizer.from_pretrained(f"{tiny_profile.model}/tokenizer")
    torch.set_default_dtype(torch.bfloat16)
    try:
        StableDiffusionPipeline(
            unet=UNet2DConditionModel(
                sample_size=64,
                cross_attention_dim=1024,
                attention_head_dim=(5, 10, 20, 20),
                use_linear_projection=True,
            ),
            vae=AutoencoderKL(
                down_block_types=("DownEncoderBlock2D",) * 4,
                up_block_types=("UpDecoderBlock2D",) * 4,
                block_out_channels=(128, 256, 512, 512),
                layers_per_block=2,
                sample_size=768,
            ),
            text_encoder=CLIPTextModel(
                CLIPTextConfig(
                    vocab_size=len(tokenizer),
                    hidden_size=1024,
                    intermediate_size=4096,
                    num_hidden_layers=23,
                    num_attention_heads=16,
                    max_position_embeddings=77,
                )
            ),
            tokenizer=tokenizer,
            scheduler=DDIMScheduler.from_pretrained(f"{tiny_profile.model}/scheduler"),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        ).save_pretrained(folder)
    finally:
        torch.set_default_dtype(torch.float32)
    return folder


@pytest.mark.slow
def test_a_full_size_folder_loads_samples_and_saves(folder: Path, tmp_path: Path) -> None:
    pipe = load_base(folder).to(dtype=torch.bfloat16)
    assert round(sum(p.numel() for p in pipe.unet.parameters()) / 1e6, 1) == 1182.4
    pipe.save_pretrained(tmp_path / "video-model")
    del pipe
    # A processor without instructions for bfloat16 takes three quarters of an hour for a step in it.
    again = VidRDPipeline.from_pretrained(tmp_path / "video-model", dtype=torch.float32)
    frames = again("a corgi", num_inference_steps=1, height=128, width=128).frames
    assert frames.shape == (1, 8, 128, 128, 3) and frames.std() > 0
