"""LoRA files as tools write them: one random LoRA of every layer that may have one, under each tool's names.

The names are written out here from what the tools do, not asked of the code that reads them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import nn

RANK = 2
ALPHA = 3.0


@dataclass(frozen=True)
class LayerLora:
    """A LoRA of one layer: the change of its weight is up @ down, times alpha / rank where a layout has an alpha."""

    down: torch.Tensor
    up: torch.Tensor

    @property
    def change(self) -> torch.Tensor:
        """Of the weight, at a scale of 1."""
        return torch.einsum("or,ri...->oi...", self.up.flatten(1), self.down)


def random_lora(
    model: nn.Module, seed: int, keep: Callable[[str], bool] = lambda name: True
) -> dict[str, LayerLora]:
    """One for each linear layer and convolution of an image model, by module."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, module in model.named_modules():
        if not isinstance(module, (nn.Linear, nn.Conv2d)) or not keep(name):
            continue
        out, *rest = module.weight.shape
        down = torch.randn(RANK, *rest, generator=generator) / 8
        up = torch.randn(out, RANK, *[1] * (len(rest) - 1), generator=generator) / 8
        found[name] = LayerLora(down, up)
    return found


def add_to_weights(model: nn.Module, lora: dict[str, LayerLora], scale: float) -> None:
    """What a LoRA stands for, done to the weights themselves."""
    with torch.no_grad():
        for name, layer in lora.items():
            weight = model.get_submodule(name).weight
            weight += scale * layer.change.reshape(weight.shape)


def peft_file(unet: dict[str, LayerLora], text: dict[str, LayerLora]) -> dict[str, torch.Tensor]:
    """diffusers today: peft's names behind the component's."""
    parts = _named(unet, "unet.", "lora_A.weight", "lora_B.weight")
    return parts | _named(text, "text_encoder.text_model.", "lora_A.weight", "lora_B.weight")


def diffusers_file(unet: dict[str, LayerLora], text: dict[str, LayerLora]) -> dict[str, torch.Tensor]:
    """diffusers from 0.17 on."""
    parts = _named(unet, "unet.", "lora.down.weight", "lora.up.weight")
    for name, layer in text.items():
        for part, tensor in (("down", layer.down), ("up", layer.up)):
            parts[f"text_encoder.text_model.{name}.lora_linear_layer.{part}.weight"] = tensor
    return parts


def processor_file(unet: dict[str, LayerLora], text: dict[str, LayerLora]) -> dict[str, torch.Tensor]:
    """diffusers before 0.17, which had attention processors: of attention layers alone, without a prefix."""
    found = {}
    for name, layer in unet.items():
        match = re.fullmatch(r"(.*\.attn\d)\.(to_q|to_k|to_v|to_out)(\.0)?", name)
        assert match is not None, name
        for part, tensor in (("down", layer.down), ("up", layer.up)):
            found[f"{match[1]}.processor.{match[2]}_lora.{part}.weight"] = tensor
    return found


def kohya_file(unet: dict[str, LayerLora], text: dict[str, LayerLora]) -> dict[str, torch.Tensor]:
    """kohya's scripts for Stable Diffusion 1 and 2, with an alpha for each layer."""
    return _underscored("lora_unet_", unet) | _underscored("lora_te_text_model_", text)


def kohya_original_file(unet: dict[str, LayerLora], text: dict[str, LayerLora]) -> dict[str, torch.Tensor]:
    """kohya's scripts where they train on the first code's UNet."""
    return _underscored("lora_unet_", _original(unet)) | _underscored("lora_te1_text_model_", text)


def comfyui_file(unet: dict[str, LayerLora], text: dict[str, LayerLora]) -> dict[str, torch.Tensor]:
    """ComfyUI's own, as its node that saves a LoRA writes it, in half precision."""
    parts = _named(_original(unet), "diffusion_model.", "lora_down.weight", "lora_up.weight")
    parts |= _named(
        text, "text_encoders.clip_l.transformer.text_model.", "lora_down.weight", "lora_up.weight"
    )
    return {name: tensor.half() for name, tensor in parts.items()}


def _named(lora: dict[str, LayerLora], prefix: str, down: str, up: str) -> dict[str, torch.Tensor]:
    found = {}
    for name, layer in lora.items():
        found[f"{prefix}{name}.{down}"], found[f"{prefix}{name}.{up}"] = layer.down, layer.up
    return found


def _underscored(prefix: str, lora: dict[str, LayerLora]) -> dict[str, torch.Tensor]:
    found = {}
    for name, layer in lora.items():
        stem = prefix + name.replace(".", "_")
        found[f"{stem}.lora_down.weight"], found[f"{stem}.lora_up.weight"] = layer.down, layer.up
        found[f"{stem}.alpha"] = torch.tensor(ALPHA)
    return found


# Of a UNet of three resolutions with one layer each, the first without attention on the way up, the last on the way
# down; written down from Stable Diffusion's first code, which counts its blocks through.
ORIGINAL_NAMES = {
    "conv_in": "input_blocks.0.0",
    "down_blocks.0.resnets.0": "input_blocks.1.0",
    "down_blocks.0.attentions.0": "input_blocks.1.1",
    "down_blocks.0.downsamplers.0.conv": "input_blocks.2.0.op",
    "down_blocks.1.resnets.0": "input_blocks.3.0",
    "down_blocks.1.attentions.0": "input_blocks.3.1",
    "down_blocks.1.downsamplers.0.conv": "input_blocks.4.0.op",
    "down_blocks.2.resnets.0": "input_blocks.5.0",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
    "up_blocks.0.resnets.0": "output_blocks.0.0",
    "up_blocks.0.resnets.1": "output_blocks.1.0",
    "up_blocks.0.upsamplers.0.conv": "output_blocks.1.1.conv",
    "up_blocks.1.resnets.0": "output_blocks.2.0",
    "up_blocks.1.attentions.0": "output_blocks.2.1",
    "up_blocks.1.resnets.1": "output_blocks.3.0",
    "up_blocks.1.attentions.1": "output_blocks.3.1",
    "up_blocks.1.upsamplers.0.conv": "output_blocks.3.2.conv",
    "up_blocks.2.resnets.0": "output_blocks.4.0",
    "up_blocks.2.attentions.0": "output_blocks.4.1",
    "up_blocks.2.resnets.1": "output_blocks.5.0",
    "up_blocks.2.attentions.1": "output_blocks.5.1",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
}
_ORIGINAL_RESNET = {
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}


def _original(lora: dict[str, LayerLora]) -> dict[str, LayerLora]:
    return {original_name(name, ORIGINAL_NAMES.items()): layer for name, layer in lora.items()}


def original_name(name: str, places: Iterable[tuple[str, str]]) -> str:
    """A module's name in Stable Diffusion's first code."""
    for ours, theirs in places:
        if name == ours:
            return theirs
        if name.startswith(f"{ours}."):
            rest = name.removeprefix(f"{ours}.")
            return f"{theirs}.{_ORIGINAL_RESNET.get(rest, rest)}"
    raise KeyError(name)
