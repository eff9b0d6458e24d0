"""LoRA layers that are trained: put beside a video UNet's own, taken out as files, and folded into its weights.

Image layers get theirs in the layout that every loader of Stable Diffusion reads; those of temporal attention are a
file of their own, which `load_lora_weights` of VidRDPipeline reads.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from diffusers.utils import USE_PEFT_BACKEND

from vidrd_model.errors import ModelError
from vidrd_model.temporal_layers import TEMPORAL_MARK, train_only

if USE_PEFT_BACKEND:
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

LORA_MARK = ".lora_"
IMAGE_LORA_FILE = "image_lora.safetensors"
TEMPORAL_LORA_FILE = "temporal_lora.safetensors"

_ADAPTER = "trained"
_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
_IMAGE_LAYERS: dict[str, tuple[str, ...]] = {
    "temporal": (),
    "cross-attention": tuple(f".attn2.{name}" for name in _ATTENTION),
    "all": (
        *(f".attn1.{name}" for name in _ATTENTION),
        *(f".attn2.{name}" for name in _ATTENTION),
        *(".ff.net.0.proj", ".ff.net.2", ".proj_in", ".proj_out"),
    ),
}
"""Targets -> the ends of the names of image layers that get LoRA layers."""


def add_lora(
    unet: Any,
    *,
    rank: int,
    alpha: float,
    targets: str,
    temporal_whole: bool,
    dora: bool = False,
    rslora: bool = False,
    seed: int = 0,
) -> list[str]:
    """Puts fresh LoRA layers beside a UNet's, which change nothing yet, and freezes all else; returns what is trained.

    With `temporal_whole` the temporal layers are trained themselves, else temporal attention gets LoRA layers too. The
    same seed gives the same layers. Raises ModelError where peft is not installed.
    """
    if not USE_PEFT_BACKEND:
        raise ModelError("trainable lora needs peft: pip install 'vidrd[lora]'")
    if targets not in _IMAGE_LAYERS:
        raise ModelError(f"lora: targets must be one of {', '.join(_IMAGE_LAYERS)}, not {targets!r}")
    ends = _IMAGE_LAYERS[targets]
    if not temporal_whole:
        ends += tuple(f".temp_attn.{name}" for name in _ATTENTION)
    layers = [name for name, _ in unet.named_modules() if name.endswith(ends)]
    if not layers:
        raise ModelError(
            f"lora: targets {targets} with whole temporal layers leave no layer; train temporal instead"
        )
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]  # peft divides it, whatever number it is
        target_modules=layers,
        use_dora=dora,
        use_rslora=rslora,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet.add_adapter(config, _ADAPTER)
    trained = (LORA_MARK, TEMPORAL_MARK) if temporal_whole else (LORA_MARK,)
    return train_only(unet, trained)


def fold_lora(unet: Any) -> None:
    """Adds the LoRA layers to the weights beside which they lie, and takes them out: a UNet as any other."""
    unet.fuse_lora()
    unet.unload_lora()


def write_lora(unet: Any, folder: Path) -> list[Path]:
    """Writes the LoRA layers of a UNet as safetensors into a folder, image layers and temporal ones apart.

    Factors such as alpha / rank are in the weights, so that a loader that knows of none uses them right.
    """
    scale = _scale(unet)
    tensors = {
        name: (value.float() * scale if ".lora_B." in name else value).detach().cpu().contiguous()
        for name, value in get_peft_model_state_dict(unet, adapter_name=_ADAPTER).items()
    }
    files = []
    for name, of_frames in ((IMAGE_LORA_FILE, False), (TEMPORAL_LORA_FILE, True)):
        own = {key: value for key, value in tensors.items() if (TEMPORAL_MARK in key) is of_frames}
        if own:
            StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=own, weight_name=name)
            files.append(folder / name)
    return files


def _scale(unet: Any) -> float:
    config = unet.peft_config[_ADAPTER]
    return float(config.lora_alpha / (config.r**0.5 if config.use_rslora else config.r))
