"""The tiny models: Stable Diffusion 2.1's classes and folder layout, only narrower."""

from __future__ import annotations

from typing import Any

from diffusers import DDIMScheduler
from open_clip import CLIP
from transformers import CLIPTextConfig, CLIPTextModel

from tasks.tiny.models.vocabulary import CONTEXT_LENGTH
from vidrd_model import TemporalUNet, TemporalVAE

FRAME_SIZE_PX = 64
NUM_FRAMES = 8
TEXT_WIDTH = 128
SAMPLING = {
    "num_frames": NUM_FRAMES,
    "fps": 8.0,
    "width": FRAME_SIZE_PX,
    "height": FRAME_SIZE_PX,
    "num_inference_steps": 20,
    "guidance_scale": 4.0,
    "negative_prompt": "",
    "prompt_frames": 4,
    "alpha": 4.0,
    "beta": 1.0,
    "eta": 0.0,
    "noise_alpha": 0.0,
}
"""How the model is sampled where nobody says otherwise; beta is explained in the profile."""


def make_vae() -> TemporalVAE:
    """Gives an autoencoder that shrinks 64 pixels to 8 latents a side."""
    return TemporalVAE(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(32, 64, 64, 64),
        layers_per_block=1,
        sample_size=FRAME_SIZE_PX,
    )


def make_unet() -> TemporalUNet:
    """Gives a UNet of two resolutions, 8x8 and 4x4 latents."""
    return TemporalUNet(
        sample_size=FRAME_SIZE_PX // 8,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(64, 128),
        layers_per_block=1,
        attention_head_dim=(2, 4),
        cross_attention_dim=TEXT_WIDTH,
    )


def make_text_encoder(vocabulary_size: int) -> CLIPTextModel:
    """Gives a CLIP text transformer; its last two tokens start and end a text."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocabulary_size,
            hidden_size=TEXT_WIDTH,
            intermediate_size=4 * TEXT_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=CONTEXT_LENGTH,
            bos_token_id=vocabulary_size - 2,
            eos_token_id=vocabulary_size - 1,
            pad_token_id=vocabulary_size - 1,
        )
    )


def make_scheduler() -> DDIMScheduler:
    """Stable Diffusion 2.1-base's noise schedule."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        timestep_spacing="leading",
        prediction_type="epsilon",
    )


def clip_config(vocabulary_size: int) -> dict[str, Any]:
    """open_clip's model config of the tiny CLIP."""
    return {
        "embed_dim": 64,
        "vision_cfg": {
            "image_size": FRAME_SIZE_PX,
            "layers": 4,
            "width": 96,
            "head_width": 24,
            "patch_size": 8,
        },
        "text_cfg": {
            "context_length": CONTEXT_LENGTH,
            "vocab_size": vocabulary_size,
            "width": 96,
            "heads": 4,
            "layers": 2,
        },
    }


def make_clip(vocabulary_size: int) -> CLIP:
    """Gives a small ViT and text transformer."""
    return CLIP(**clip_config(vocabulary_size))


def clip_folder_config(vocabulary_size: int) -> dict[str, Any]:
    """Gives the content of open_clip_config.json: how open_clip loads a local folder."""
    half = [0.5, 0.5, 0.5]
    return {
        "model_cfg": clip_config(vocabulary_size),
        "preprocess_cfg": {"mean": half, "std": half, "interpolation": "bicubic"},
    }
