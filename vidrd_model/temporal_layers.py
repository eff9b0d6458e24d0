"""What VidRD adds to an image model: Temp-Conv and Temp-Attn, the layers that look across frames."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from vidrd_model.attention import TempAttention
from vidrd_model.dropout import KeyedDropout
from vidrd_model.recompute import recomputed

# What a layer of Temp-Conv is made of: norm, SiLU, dropout, convolution.
_LAYER_PARTS = 4

TEMPORAL_MARK = "temp_"
"""Every parameter of a temporal layer, and no other, has this in its name."""


def fold_frames(x_bcnhw: torch.Tensor) -> torch.Tensor:
    """Moves the frames into the batch, (b n) c h w; a view when the memory is channels-last."""
    return x_bcnhw.transpose(1, 2).flatten(0, 1)


def unfold_frames(x_folded: torch.Tensor, num_videos: int) -> torch.Tensor:
    """The inverse of `fold_frames`: (b n) c h w to b c n h w."""
    return x_folded.unflatten(0, (num_videos, -1)).transpose(1, 2)


class FrameConv(nn.Conv3d):
    """A convolution over three neighbouring frames, kernel 3x1x1."""

    def __init__(self, channels: int):
        super().__init__(channels, channels, (3, 1, 1), padding=(1, 0, 0))

    def forward(self, x_bcnhw: torch.Tensor) -> torch.Tensor:
        """b c n h w to the same shape."""
        # As a flat picture of n x (h w): a view in channels-last memory, and two to three times as fast in float32
        # on a CPU, where PyTorch's 3-D convolution copies every patch.
        flat = F.conv2d(x_bcnhw.flatten(3), self.weight.squeeze(4), self.bias, padding=(1, 0))
        return flat.unflatten(3, x_bcnhw.shape[3:])


class TempConv(nn.Module):
    """Temp-Conv: a residual stack of [GroupNorm(32), SiLU, Dropout, 3x1x1 convolution] over the frames.

    The last convolution starts at zero, so a fresh layer changes nothing. A single frame passes untouched.
    """

    def __init__(self, channels: int, num_layers: int, dropout: float = 0.1):
        super().__init__()
        if channels % 32:
            raise ValueError(f"Temp-Conv needs a multiple of 32 channels, got {channels}")
        layers: list[nn.Module] = []
        for _ in range(num_layers):
            layers += [nn.GroupNorm(32, channels), nn.SiLU(), KeyedDropout(dropout), FrameConv(channels)]
        self.convs = nn.Sequential(*layers)
        self.zero_output()

    def zero_output(self) -> None:
        """Makes the layer an identity again."""
        for parameter in self.convs[-1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, hidden_bcnhw: torch.Tensor) -> torch.Tensor:
        """Mixes neighbouring frames; same shape out."""
        if hidden_bcnhw.shape[2] == 1:
            return hidden_bcnhw
        x_bcnhw = hidden_bcnhw
        for start in range(0, len(self.convs), _LAYER_PARTS):
            x_bcnhw = recomputed(self.convs[start : start + _LAYER_PARTS], x_bcnhw)
        return hidden_bcnhw + x_bcnhw


def frame_embedding(num_frames: int, channels: int, like: torch.Tensor) -> torch.Tensor:
    """The fixed sine and cosine embedding of the frame index, (n, c) in the dtype and device of `like`."""
    position = torch.arange(num_frames, dtype=torch.float32, device=like.device)[:, None]
    steps = torch.arange(0, channels, 2, dtype=torch.float32, device=like.device)
    angles = position * torch.exp(steps * (-math.log(10000.0) / channels))
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1).to(like.dtype)


class PooledGroupNorm(nn.GroupNorm):
    """GroupNorm whose statistics pool over the frames of a video, as VidRD's resnets have it."""

    def forward(self, x_bcnhw: torch.Tensor) -> torch.Tensor:
        """Normalises b c n h w over (channels of a group, n, h, w)."""
        return F.group_norm(x_bcnhw, self.num_groups, self.weight, self.bias, self.eps)


def reset_temporal_layers(model: nn.Module, seed: int) -> None:
    """Gives every temporal layer of `model` fresh weights (seeded), outputs at zero: the image model again."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for name, module in model.named_modules():
            is_layer = isinstance(module, (nn.Conv3d, nn.Linear, nn.GroupNorm, nn.LayerNorm))
            if TEMPORAL_MARK in name and is_layer and ".lora_" not in name:
                module.reset_parameters()
        for module in model.modules():
            if isinstance(module, (TempConv, TempAttention)):
                module.zero_output()


def train_only(model: nn.Module, wanted: tuple[str, ...]) -> list[str]:
    """Freezes `model` but for the parameters whose name holds one of `wanted`; returns their names."""
    names = []
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(any(part in name for part in wanted))
        if parameter.requires_grad:
            names.append(name)
    return names
