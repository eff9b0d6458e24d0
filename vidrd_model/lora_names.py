"""The names that LoRA files have for a model's layers, whatever tool wrote them, and the layers that they mean.

Every layer is looked up by its whole name. The layouts are those of diffusers and peft (module names, older ones with
processors), of kohya's scripts (module names with underscores) and of ComfyUI (the names of Stable Diffusion's first
code, which kohya's scripts know as well).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

LAYERS = (nn.Linear, nn.Conv2d, nn.Conv3d)
"""What a LoRA may lie on."""

_ENDINGS = {
    "down": ("lora_down.weight", "lora_A.weight", "lora.down.weight", "lora_linear_layer.down.weight"),
    "up": ("lora_up.weight", "lora_B.weight", "lora.up.weight", "lora_linear_layer.up.weight"),
    "alpha": ("alpha",),
}


def _one_of(patterns: Iterable[str]) -> str:
    return str.join("|", patterns)


_KEY = re.compile(
    r"(?P<layer>.+)[._](?:"
    + _one_of(f"(?P<{part}>{_one_of(map(re.escape, endings))})" for part, endings in _ENDINGS.items())
    + ")"
)
_RESNET_PARTS = {
    "conv1": "in_layers.2",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
_OUTER_LAYERS = {
    "conv_in": "input_blocks.0.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
}
_OLD_TEXT_NAMES = {"q_proj": "to_q", "k_proj": "to_k", "v_proj": "to_v", "out_proj": "to_out"}


@dataclass(frozen=True)
class LayerKey:
    """A key of a file: the layer as it is spelled there, and what of its LoRA the tensor is (down, up or alpha)."""

    layer: str
    part: str


def read_key(key: str) -> LayerKey | None:
    """What a key of a LoRA file says; None for one that is no part of a LoRA."""
    match = _KEY.fullmatch(key)
    if match is None or match.lastgroup is None:
        return None
    return LayerKey(match["layer"].replace(".processor.", "."), match.lastgroup)


def spelled_layers(unet: nn.Module | None, text_encoder: nn.Module | None) -> dict[str, str]:
    """Every spelling of the layers that a LoRA may lie on -> the component and module, `unet.conv_in`, say."""
    found: dict[str, str] = {}
    for component, model, spellings in (
        ("unet", unet, _unet_spellings),
        ("text_encoder", text_encoder, _text_spellings),
    ):
        if model is None:
            continue
        for name, module in model.named_modules():
            name = name.removesuffix(".base_layer")  # of a layer that has a LoRA already
            if isinstance(module, LAYERS) and ".lora_" not in name:
                for spelling in spellings(name, getattr(model, "config", {})):
                    found[spelling] = f"{component}.{name}"
    return found


def _unet_spellings(name: str, config: Mapping[str, Any]) -> Iterator[str]:
    original = _original_name(name, int(config.get("layers_per_block", 2)), config)
    for spelling in (name, original):
        if spelling is not None:
            yield f"lora_unet_{spelling.replace('.', '_')}"
    short = name.removesuffix(".0") if name.endswith(".to_out.0") else name
    for spelling in {name, short}:
        yield spelling
        yield f"unet.{spelling}"
    if original is not None:
        yield f"diffusion_model.{original}"


def _text_spellings(name: str, config: Mapping[str, Any]) -> Iterator[str]:
    # transformers had these layers under `text_model` until version 5, and files still do.
    name = name.removeprefix("text_model.")
    long = f"text_model.{name}"
    for prefix in ("lora_te_", "lora_te1_"):
        yield prefix + long.replace(".", "_")
    before, _, last = name.rpartition(".")
    for spelling in (name, f"{before}.{_OLD_TEXT_NAMES.get(last, last)}"):
        yield f"text_encoder.{spelling}"
        yield f"text_encoder.text_model.{spelling}"
    for encoder in ("clip_l", "clip_h"):
        yield f"text_encoders.{encoder}.transformer.{long}"


def _original_name(name: str, layers: int, config: Mapping[str, Any]) -> str | None:
    """A layer's name in Stable Diffusion's first code, where blocks of all resolutions are counted through.

    None for a layer that it did not have, such as those across frames.
    """
    if name in _OUTER_LAYERS:
        return _OUTER_LAYERS[name]
    stage, *parts = name.split(".")
    if stage == "mid_block":
        kind, index, *rest = parts
        place = {"resnets": f"middle_block.{2 * int(index)}", "attentions": "middle_block.1"}.get(kind)
        return None if place is None else _in_place(place, kind, rest)
    if stage not in ("down_blocks", "up_blocks"):
        return None
    block, kind, index, *rest = parts
    if kind not in ("resnets", "attentions", "downsamplers", "upsamplers"):
        return None
    first = int(block) * (layers + 1)
    if kind == "downsamplers":
        return f"input_blocks.{first + layers + 1}.0.op"
    if kind == "upsamplers":
        has_attention = "CrossAttn" in config["up_block_types"][int(block)]
        return f"output_blocks.{first + layers}.{2 if has_attention else 1}.conv"
    number = first + int(index) + (1 if stage == "down_blocks" else 0)
    side = "input_blocks" if stage == "down_blocks" else "output_blocks"
    return _in_place(f"{side}.{number}.{0 if kind == 'resnets' else 1}", kind, rest)


def _in_place(place: str, kind: str, rest: list[str]) -> str | None:
    if kind == "attentions":
        return ".".join([place, *rest])
    part = _RESNET_PARTS.get(".".join(rest))
    return None if part is None else f"{place}.{part}"
