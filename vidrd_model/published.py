"""Loads weights in the authors' published form: their config names, their keys, their quirks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from vidrd_model.errors import ModelError
from vidrd_model.temporal_layers import TEMPORAL_MARK
from vidrd_model.unet import TemporalUNet
from vidrd_model.vae import TemporalVAE

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
