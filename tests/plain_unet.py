"""The VidRD UNet written out plainly: one frame, one head, one layer after the other, straight from the weights.

It shares no code with `vidrd_model`. Shapes are those of the paper's figures; (b c n h w) everywhere, loops instead of
folding. The rules are those of the authors' code as the goldens show them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F

Weights = Mapping[str, torch.Tensor]


def plain_unet(
    config: Mapping[str, Any],
    weights: Weights,
    sample: torch.Tensor,
    timestep: torch.Tensor,
    text: torch.Tensor,
) -> torch.Tensor:
    """The UNet's output for latents (b c n h w), steps (b,) and text states (b t d)."""
    net = _Plain(config, weights)
    return torch.cat(
        [net.video(sample[i : i + 1], timestep[i : i + 1], text[i : i + 1]) for i in range(len(sample))]
    )


class _Plain:
    def __init__(self, config: Mapping[str, Any], weights: Weights):
        self.config, self.weights = config, weights
        levels = len(config["block_out_channels"])
        heads = config["attention_head_dim"]
        self.heads = [heads] * levels if isinstance(heads, int) else list(heads)

    def video(self, x: torch.Tensor, timestep: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        time = self.time(timestep)
        x = self.frames(lambda frame: self.conv(frame, "conv_in", padding=1), x)
        skips, depth = [x], self.config["layers_per_block"]
        down, up = self.config["down_block_types"], self.config["up_block_types"]
        for level, kind in enumerate(down):
            for layer in range(depth):
                x = self.layer(
                    x, time, text, f"down_blocks.{level}", layer, self.heads[level], "CrossAttn" in kind
                )
                skips.append(x)
            if level < len(down) - 1:
                name = f"down_blocks.{level}.downsamplers.0.conv"
                x = self.frames(lambda frame, name=name: self.shrink(frame, name), x)
                skips.append(x)
        x = self.temp_conv(self.resnet(x, time, "mid_block.resnets.0"), "mid_block.temp_convs.0", 4)
        x = self.transformer(x, text, "mid_block.attentions.0", self.heads[-1])
        x = self.temp_conv(self.resnet(x, time, "mid_block.resnets.1"), "mid_block.temp_convs.1", 4)
        for level, kind in enumerate(up):
            for layer in range(depth + 1):
                x = torch.cat([x, skips.pop()], dim=1)
                heads = self.heads[len(up) - 1 - level]
                x = self.layer(x, time, text, f"up_blocks.{level}", layer, heads, "CrossAttn" in kind)
            if level < len(up) - 1:
                size, name = skips[-1].shape[-2:], f"up_blocks.{level}.upsamplers.0.conv"
                x = self.frames(
                    lambda frame, size=size, name=name: self.conv(
                        F.interpolate(frame, size=size), name, padding=1
                    ),
                    x,
                )
        x = F.silu(
            self.pooled_norm(x, "conv_norm_out", self.config["norm_num_groups"], self.config["norm_eps"])
        )
        return self.frames(lambda frame: self.conv(frame, "conv_out", padding=1), x)

    def layer(self, x, time, text, block: str, index: int, heads: int, attention: bool) -> torch.Tensor:
        x = self.resnet(x, time, f"{block}.resnets.{index}")
        x = self.temp_conv(x, f"{block}.temp_convs.{index}", 4)
        return self.transformer(x, text, f"{block}.attentions.{index}", heads) if attention else x

    def resnet(self, x: torch.Tensor, time: torch.Tensor, name: str) -> torch.Tensor:
        groups, eps = self.config["norm_num_groups"], self.config["norm_eps"]
        hidden = F.silu(self.pooled_norm(x, f"{name}.norm1", groups, eps))
        hidden = self.frames(lambda frame: self.conv(frame, f"{name}.conv1", padding=1), hidden)
        hidden = hidden + self.linear(F.silu(time), f"{name}.time_emb_proj")[:, :, None, None, None]
        hidden = F.silu(self.pooled_norm(hidden, f"{name}.norm2", groups, eps))
        hidden = self.frames(lambda frame: self.conv(frame, f"{name}.conv2", padding=1), hidden)
        if f"{name}.conv_shortcut.weight" in self.weights:
            x = self.frames(lambda frame: self.conv(frame, f"{name}.conv_shortcut"), x)
        return x + hidden

    def temp_conv(self, x: torch.Tensor, name: str, layers: int) -> torch.Tensor:
        if x.shape[2] == 1 or f"{name}.convs.0.weight" not in self.weights:
            return x
        hidden = x
        for layer in range(layers):  # each is norm, SiLU, dropout, convolution
            hidden = F.silu(self.pooled_norm(hidden, f"{name}.convs.{4 * layer}", 32, 1e-5))
            weight, bias = self.both(f"{name}.convs.{4 * layer + 3}")
            nothing = torch.zeros_like(hidden[:, :, :1])
            padded = torch.cat([nothing, hidden, nothing], dim=2)
            frames = []
            for n in range(hidden.shape[2]):
                before, now, after = (padded[0, :, n + k] for k in range(3))
                mixed = sum(
                    torch.einsum("oc,chw->ohw", weight[:, :, k, 0, 0], frame)
                    for k, frame in enumerate((before, now, after))
                )
                frames.append(mixed + bias[:, None, None])
            hidden = torch.stack(frames, dim=1)[None]
        return x + hidden

    def transformer(self, x: torch.Tensor, text: torch.Tensor, name: str, heads: int) -> torch.Tensor:
        _, c, n, h, w = x.shape
        tokens = []
        for frame in range(n):
            weight, bias = self.both(f"{name}.norm")
            normed = F.group_norm(x[:, :, frame], self.config["norm_num_groups"], weight, bias, 1e-6)
            tokens.append(self.projection(normed[0].reshape(c, h * w).T, f"{name}.proj_in"))
        tokens_nsc = torch.stack(tokens)
        block = 0
        while f"{name}.transformer_blocks.{block}.norm1.weight" in self.weights:
            tokens_nsc = self.block(tokens_nsc, text[0], f"{name}.transformer_blocks.{block}", heads)
            block += 1
        out = torch.stack(
            [self.projection(t, f"{name}.proj_out").T.reshape(c, h, w) for t in tokens_nsc], dim=1
        )
        return x + out[None]

    def block(self, x: torch.Tensor, text: torch.Tensor, name: str, heads: int) -> torch.Tensor:
        n, s, c = x.shape
        normed = self.layer_norm(x, f"{name}.norm1")
        x = x + torch.stack([self.attention(t, t, f"{name}.attn1", heads) for t in normed])
        normed = self.layer_norm(x, f"{name}.norm2")
        x = x + torch.stack([self.attention(t, text, f"{name}.attn2", heads) for t in normed])
        where = self.config["frame_embedding"]
        embedding = self.frame_embedding(n, c)[:, None]
        if where == "residual":
            x = x + embedding
        if n > 1 and f"{name}.temp_norm.weight" in self.weights:
            normed = self.layer_norm(x, f"{name}.temp_norm")
            if where == "attention":
                normed = normed + embedding
            pixels = [
                self.attention(normed[:, i], normed[:, i], f"{name}.temp_attn", heads) for i in range(s)
            ]
            x = x + torch.stack(pixels, dim=1)
        hidden, gate = self.linear(self.layer_norm(x, f"{name}.norm3"), f"{name}.ff.net.0.proj").chunk(
            2, dim=-1
        )
        return x + self.linear(hidden * F.gelu(gate), f"{name}.ff.net.2")

    def attention(self, tokens: torch.Tensor, context: torch.Tensor, name: str, heads: int) -> torch.Tensor:
        query, key, value = (
            source @ self.weights[f"{name}.to_{part}.weight"].T
            for part, source in (("q", tokens), ("k", context), ("v", context))
        )
        width = query.shape[-1] // heads
        out = []
        for head in range(heads):
            part = slice(head * width, (head + 1) * width)
            likeness = query[:, part] @ key[:, part].T / math.sqrt(width)
            out.append(likeness.softmax(dim=-1) @ value[:, part])
        return self.linear(torch.cat(out, dim=-1), f"{name}.to_out.0")

    def time(self, timestep: torch.Tensor) -> torch.Tensor:
        width = self.config["block_out_channels"][0]
        half = width // 2
        steps = torch.arange(half) / (half - self.config["freq_shift"])
        angles = timestep[:, None].float() * torch.exp(-math.log(10000) * steps)[None]
        first, second = angles.sin(), angles.cos()
        if self.config["flip_sin_to_cos"]:
            first, second = second, first
        hidden = self.linear(torch.cat([first, second], dim=-1), "time_embedding.linear_1")
        return self.linear(F.silu(hidden), "time_embedding.linear_2")

    def shrink(self, frame: torch.Tensor, name: str) -> torch.Tensor:
        padding = self.config["downsample_padding"]
        if padding == 0:
            frame = F.pad(frame, (0, 1, 0, 1))
        return self.conv(frame, name, padding=padding, stride=2)

    @staticmethod
    def frame_embedding(n: int, c: int) -> torch.Tensor:
        table = torch.zeros(n, c)
        for frame in range(n):
            for i in range(0, c, 2):
                angle = frame * math.exp(i * -math.log(10000.0) / c)
                table[frame, i], table[frame, i + 1] = math.sin(angle), math.cos(angle)
        return table

    @staticmethod
    def frames(work, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([work(x[:, :, frame]) for frame in range(x.shape[2])], dim=2)

    def projection(self, tokens: torch.Tensor, name: str) -> torch.Tensor:
        weight, bias = self.both(name)
        return tokens @ weight.reshape(weight.shape[:2]).T + bias

    def pooled_norm(self, x: torch.Tensor, name: str, groups: int, eps: float) -> torch.Tensor:
        grouped = x.reshape(x.shape[0], groups, -1)
        mean = grouped.mean(dim=2, keepdim=True)
        variance = grouped.var(dim=2, keepdim=True, unbiased=False)
        weight, bias = self.both(name)
        normed = ((grouped - mean) / torch.sqrt(variance + eps)).reshape(x.shape)
        return normed * weight[None, :, None, None, None] + bias[None, :, None, None, None]

    def layer_norm(self, x: torch.Tensor, name: str) -> torch.Tensor:
        weight, bias = self.both(name)
        centred = x - x.mean(dim=-1, keepdim=True)
        return centred / torch.sqrt(centred.square().mean(dim=-1, keepdim=True) + 1e-5) * weight + bias

    def linear(self, x: torch.Tensor, name: str) -> torch.Tensor:
        weight, bias = self.both(name)
        return x @ weight.T + bias

    def conv(self, frame: torch.Tensor, name: str, padding: int = 0, stride: int = 1) -> torch.Tensor:
        weight, bias = self.both(name)
        return F.conv2d(frame, weight, bias, padding=padding, stride=stride)

    def both(self, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        return self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
