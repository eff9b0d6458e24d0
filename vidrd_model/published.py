"""Loads weights in the authors' published form: their config names, their keys, their quirks.

The release is `ModelT2V.pth`, a Lightning checkpoint with `unet.` and `text_encoder.` keys (sometimes `vae.` too), and
`vae_finetuned/`, a diffusers folder of its day. `import_release` makes one ordinary model folder of both.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline

from vidrd_model.errors import ModelError
from vidrd_model.pipeline import VidRDPipeline
from vidrd_model.temporal_layers import TEMPORAL_MARK
from vidrd_model.unet import TemporalUNet
from vidrd_model.vae import TemporalVAE
from vidrd_model.weights_file import read_weights

_ATTENTION_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_UNET_KEYS = [
    "sample_size",
    "in_channels",
    "out_channels",
    "block_out_channels",
    "layers_per_block",
    "attention_head_dim",
    "cross_attention_dim",
    "use_linear_projection",
    "norm_num_groups",
    "norm_eps",
    "downsample_padding",
    "flip_sin_to_cos",
    "freq_shift",
]
_VAE_KEYS = [
    "in_channels",
    "out_channels",
    "down_block_types",
    "up_block_types",
    "block_out_channels",
    "layers_per_block",
    "act_fn",
    "latent_channels",
    "norm_num_groups",
    "sample_size",
    "scaling_factor",
]


def import_release(unet_file: Path, vae_dir: Path | None, base_dir: Path, out_dir: Path) -> VidRDPipeline:
    """Writes the authors' release as one diffusers folder, `out_dir`, and returns the model.

    Nothing is written unless `read_release` can read it. ModelError as of that, and for a folder that is there.
    """
    check_new(out_dir)
    pipe = read_release(unet_file, vae_dir, base_dir)
    unfinished = out_dir.with_name(f".{out_dir.name}.{os.getpid()}.unfinished")
    try:
        pipe.save_pretrained(unfinished)
        unfinished.rename(out_dir)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return pipe


def check_new(out_dir: Path) -> None:
    """ModelError for a folder that is there: nothing is written over."""
    if out_dir.exists():
        raise ModelError(f"{out_dir}: is there already; name a new folder")


def read_release(unet_file: Path, vae_dir: Path | None, base_dir: Path) -> VidRDPipeline:
    """The model of the authors' release.

    base_dir is the Stable Diffusion folder that the release was trained from: tokenizer, scheduler, the UNet's config,
    and the text encoder and VAE where the release has none. Raises ModelError that names a file that cannot be read
    safely, or lists the keys that are missing, unknown or of another shape.
    """
    base = _load_base(base_dir)
    parts = _split(load_weights(unet_file), unet_file)
    config = _read_config(base_dir / "unet") | {"add_temp_embed": True, "add_temp_conv": True}
    unet = unet_from_published(config, parts["unet"])
    vae = TemporalVAE.from_image_vae(base.vae)
    if vae_dir is not None:
        vae = vae_from_published(_read_config(vae_dir), load_weights(_weights_file(vae_dir)))
    elif parts["vae"]:
        config = _read_config(base_dir / "vae")
        temporal = any(TEMPORAL_MARK in key for key in parts["vae"])
        vae = vae_from_published(config | {"add_temp_conv": temporal}, parts["vae"])
    if parts["text_encoder"]:
        # transformers' CLIPTextModel had its layers under `text_model` until version 5.
        weights = {key.removeprefix("text_model."): value for key, value in parts["text_encoder"].items()}
        _load(base.text_encoder, weights, "text encoder")
    return VidRDPipeline(unet, base.scheduler, vae, base.text_encoder, base.tokenizer)


def load_weights(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a weights file, of its `state_dict` when it has one; ModelError as `read_weights`."""
    checkpoint = read_weights(path, mmap=True)
    weights = checkpoint.get("state_dict", checkpoint) if isinstance(checkpoint, dict) else None
    if not isinstance(weights, dict) or not all(
        isinstance(value, torch.Tensor) for value in weights.values()
    ):
        raise ModelError(f"{path}: holds no state dict")
    return weights


def unet_from_published(config: Mapping[str, Any], state_dict: Mapping[str, torch.Tensor]) -> TemporalUNet:
    """Builds the UNet of the authors' release; keys may carry the Lightning prefix `unet.`.

    The frame embedding stays in the residual stream, as the published weights need it (quirk Q1). Without any
    temporal key in `state_dict` the model has no temporal layers. Raises ModelError naming keys that do not fit.
    """
    weights = _strip_prefix(state_dict, "unet.")
    temporal = any(TEMPORAL_MARK in key for key in weights)
    embedding = "residual" if temporal and config.get("add_temp_embed", False) else "none"
    unet = TemporalUNet(
        **{key: config[key] for key in _UNET_KEYS if key in config},
        down_block_types=tuple(kind.replace("3D", "2D") for kind in config["down_block_types"]),
        up_block_types=tuple(kind.replace("3D", "2D") for kind in config["up_block_types"]),
        temp_conv=temporal and bool(config.get("add_temp_conv", False)),
        temp_attention=temporal,
        frame_embedding=embedding,
    )
    _load(unet, weights, "UNet")
    return unet.eval()


def vae_from_published(config: Mapping[str, Any], state_dict: Mapping[str, torch.Tensor]) -> TemporalVAE:
    """Builds the fine-tuned VAE of the authors' release; old attention key names become today's."""
    weights = {}
    for key, value in _strip_prefix(state_dict, "vae.").items():
        parts = key.split(".")
        if "attentions" in parts and parts[-2] in _ATTENTION_NAMES:
            parts[-2] = _ATTENTION_NAMES[parts[-2]]
        weights[".".join(parts)] = value
    vae = TemporalVAE(
        **{key: config[key] for key in _VAE_KEYS if key in config},
        temp_conv=bool(config.get("add_temp_conv", False)),
    )
    _load(vae, weights, "VAE")
    return vae.eval()


def _load_base(folder: Path) -> DiffusionPipeline:
    try:
        base = DiffusionPipeline.from_pretrained(folder, unet=None, safety_checker=None, dtype=torch.float32)
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(
            f"{folder}: no Stable Diffusion folder ({str(error).strip().splitlines()[0]})"
        ) from error
    return base


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder / 'config.json'}: cannot be read ({error})") from error


def _weights_file(folder: Path) -> Path:
    for name in ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"):
        if (folder / name).is_file():
            return folder / name
    raise ModelError(f"{folder}: holds neither diffusion_pytorch_model.safetensors nor .bin")


def _split(weights: Mapping[str, torch.Tensor], path: Path) -> dict[str, dict[str, torch.Tensor]]:
    """The checkpoint's weights by part; old `position_ids` buffers, which are no weights, are left out."""
    parts: dict[str, dict[str, torch.Tensor]] = {"unet": {}, "text_encoder": {}, "vae": {}}
    unknown = []
    for key, value in weights.items():
        part, _, name = key.partition(".")
        if part not in parts:
            unknown.append(key)
        elif not name.endswith("position_ids"):
            parts[part][name] = value
    if unknown or not parts["unet"]:
        found = f"unknown {sorted(unknown)}" if unknown else "there are none"
        raise ModelError(f"{path}: keys must start with unet., text_encoder. or vae.; {found}")
    return parts


def _strip_prefix(state_dict: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {key.removeprefix(prefix): value for key, value in state_dict.items()}


def _load(model: torch.nn.Module, weights: Mapping[str, torch.Tensor], what: str) -> None:
    wanted = model.state_dict()
    missing = sorted(set(wanted) - set(weights))
    unknown = sorted(set(weights) - set(wanted))
    misshapen = sorted(k for k in set(wanted) & set(weights) if wanted[k].shape != weights[k].shape)
    if missing or unknown or misshapen:
        raise ModelError(
            f"the {what} weights do not fit: missing {missing}, unknown {unknown}, misshapen {misshapen}"
        )
    model.load_state_dict(weights)
