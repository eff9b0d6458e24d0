"""The UNet's blocks: diffusers' image layers, named as diffusers names them, with the temporal layers between.

Hidden states are b c n h w in channels-last memory, so that folding frames into the batch and flattening pixels into
tokens are views.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from diffusers.models.downsampling import Downsample2D
from diffusers.models.upsampling import Upsample2D
from torch import nn

from vidrd_model.attention import (
    FeedForward,
    SelfAttention,
    TempAttention,
    TextAttention,
    TextStates,
    number_of_texts,
)
from vidrd_model.deep_features import DeepFeatures
from vidrd_model.dropout import KeyedDropout, with_present_keys
from vidrd_model.freeu import FreeU
from vidrd_model.recompute import recomputed
from vidrd_model.temporal_layers import (
    PooledGroupNorm,
    TempConv,
    fold_frames,
    unfold_frames,
)

TEMP_CONV_LAYERS = 4


@dataclass(frozen=True)
class BlockOptions:
    """What all blocks of one UNet share."""

    time_width: int
    text_width: int
    groups: int
    eps: float
    dropout: float
    linear_projection: bool
    temp_conv: bool
    temp_attention: bool
    frame_embedding: str


class Conditions(NamedTuple):
    """What the layers of one pass are told beside hidden states, computed once for all of them.

    `time_bd` is the time embedding behind its SiLU; `frames_nc` are frame embeddings by the channels of a transformer,
    none where the frame index enters nowhere.
    """

    time_bd: torch.Tensor
    text: TextStates
    frames_nc: dict[int, torch.Tensor]


class ResnetBlock(nn.Module):
    """A diffusers resnet block whose norms pool over the frames."""

    def __init__(self, in_channels: int, out_channels: int, options: BlockOptions):
        super().__init__()
        self.norm1 = PooledGroupNorm(options.groups, in_channels, eps=options.eps)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.time_emb_proj = nn.Linear(options.time_width, out_channels)
        self.norm2 = PooledGroupNorm(options.groups, out_channels, eps=options.eps)
        self.dropout = KeyedDropout(options.dropout)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else None

    def forward(self, x_bcnhw: torch.Tensor, time_bd: torch.Tensor) -> torch.Tensor:
        """b c n h w and the time embedding behind its SiLU to b c' n h w."""
        videos = x_bcnhw.shape[0]
        hidden = recomputed(self._normed_conv1, x_bcnhw)
        hidden = hidden + self.time_emb_proj(time_bd)[:, :, None, None, None]
        hidden = recomputed(self._normed_conv2, hidden)
        if self.conv_shortcut is not None:
            x_bcnhw = _per_frame(self.conv_shortcut, x_bcnhw, videos)
        return x_bcnhw + hidden

    def _normed_conv1(self, x_bcnhw: torch.Tensor) -> torch.Tensor:
        return _per_frame(self.conv1, F.silu(self.norm1(x_bcnhw)), x_bcnhw.shape[0])

    def _normed_conv2(self, x_bcnhw: torch.Tensor) -> torch.Tensor:
        return _per_frame(self.conv2, self.dropout(F.silu(self.norm2(x_bcnhw))), x_bcnhw.shape[0])


class TransformerBlock(nn.Module):
    """Spatial self-attention, cross-attention, Temp-Attn over the frames, feed-forward."""

    def __init__(self, channels: int, heads: int, options: BlockOptions):
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attn1 = SelfAttention(channels, heads)
        self.norm2 = nn.LayerNorm(channels)
        self.attn2 = TextAttention(channels, heads, options.text_width)
        self.temp_norm = nn.LayerNorm(channels) if options.temp_attention else None
        self.temp_attn = TempAttention(channels, heads) if options.temp_attention else None
        self.norm3 = nn.LayerNorm(channels)
        self.ff = FeedForward(channels)
        self.frame_embedding = options.frame_embedding

    def forward(
        self, tokens_bnsc: torch.Tensor, text: TextStates, frames_nc: torch.Tensor | None = None
    ) -> torch.Tensor:
        """b n s c tokens, text states and the frames' embedding to tokens of the same shape."""
        b, n, s, c = tokens_bnsc.shape
        x = tokens_bnsc.reshape(b * n, s, c)
        x = x + self.attn1(self.norm1(x))
        if number_of_texts(text) == b:
            # The text is the same for every frame, so all tokens of a video query it at once: no repeated text.
            x = x.reshape(b, n * s, c)
        x = x + self.attn2(self.norm2(x), text)
        x = self._across_frames(x.reshape(b, n, s, c), frames_nc)
        return x + self.ff(self.norm3(x))

    def _across_frames(self, x_bnsc: torch.Tensor, frames_nc: torch.Tensor | None) -> torch.Tensor:
        if self.frame_embedding == "residual" and frames_nc is not None:
            # Quirk Q1 of the published weights: the embedding stays in the residual stream.
            x_bnsc = x_bnsc + frames_nc[:, None]
        if x_bnsc.shape[1] == 1 or self.temp_attn is None or self.temp_norm is None:
            return x_bnsc
        query_bnsc = self.temp_norm(x_bnsc)
        if self.frame_embedding == "attention" and frames_nc is not None:
            query_bnsc = query_bnsc + frames_nc[:, None]
        return x_bnsc + self.temp_attn(query_bnsc)


class SpatialTransformer(nn.Module):
    """A transformer over the pixels of each frame; its own GroupNorm is per frame."""

    def __init__(self, channels: int, heads: int, depth: int, options: BlockOptions):
        super().__init__()
        self.channels = channels
        self.norm = nn.GroupNorm(options.groups, channels, eps=1e-6)
        self.linear_projection = options.linear_projection
        self.proj_in = self._projection(channels)
        blocks = [TransformerBlock(channels, heads, options) for _ in range(depth)]
        self.transformer_blocks = nn.ModuleList(blocks)
        self.proj_out = self._projection(channels)

    def _projection(self, channels: int) -> nn.Module:
        return nn.Linear(channels, channels) if self.linear_projection else nn.Conv2d(channels, channels, 1)

    def forward(
        self, x_bcnhw: torch.Tensor, text: TextStates, frames_nc: torch.Tensor | None = None
    ) -> torch.Tensor:
        """b c n h w, text states and the frames' embedding to b c n h w."""
        b, c, n, h, w = x_bcnhw.shape
        folded = self.norm(fold_frames(x_bcnhw))
        if not self.linear_projection:
            folded = self.proj_in(folded)
        # Copied here where it is no view, or each linear layer would do so, and add its bias apart.
        tokens = folded.permute(0, 2, 3, 1).contiguous().view(b, n, h * w, c)
        if self.linear_projection:
            tokens = self.proj_in(tokens)
        for block in self.transformer_blocks:
            tokens = block(tokens, text, frames_nc)
        if self.linear_projection:
            tokens = self.proj_out(tokens)
        folded = tokens.reshape(b * n, h, w, c).permute(0, 3, 1, 2)
        if not self.linear_projection:
            folded = self.proj_out(folded)
        return x_bcnhw + unfold_frames(folded, b)


BLOCKS = (ResnetBlock, SpatialTransformer, TempConv)
"""What the UNet is made of many times over: the modules to compile, or to shard, one by one."""


class _Checkpointed(nn.Module):
    """A block whose layers keep nothing but their input for the backward pass, when checkpointing is on.

    Layer by layer, not the block as a whole: what is recomputed at a time is less, and the layers' outputs on the way
    down are kept as skips in any case.
    """

    gradient_checkpointing = False
    _gradient_checkpointing_func: Callable[..., Any]

    def run(self, layer: Callable[..., torch.Tensor], *args: Any) -> torch.Tensor:
        """Calls `layer`."""
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return self._gradient_checkpointing_func(with_present_keys(layer), *args)
        return layer(*args)


class _Stage(_Checkpointed):
    """Resnets, each followed by its Temp-Conv and, where the stage has attention, its transformer."""

    def __init__(self, channels: list[tuple[int, int]], heads: int | None, depth: int, options: BlockOptions):
        super().__init__()
        self.resnets = nn.ModuleList(ResnetBlock(i, o, options) for i, o in channels)
        outs = [o for _, o in channels]
        self.temp_convs = (
            nn.ModuleList(TempConv(o, TEMP_CONV_LAYERS) for o in outs) if options.temp_conv else None
        )
        self.attentions = (
            nn.ModuleList(SpatialTransformer(o, heads, depth, options) for o in outs) if heads else None
        )

    def layer(self, index: int, x_bcnhw: torch.Tensor, conditions: Conditions) -> torch.Tensor:
        """Runs layer `index` of the stage."""
        x = self.resnets[index](x_bcnhw, conditions.time_bd)
        if self.temp_convs is not None:
            x = self.temp_convs[index](x)
        if self.attentions is not None:
            x = _attended(self.attentions[index], x, conditions)
        return x


class DownBlock(_Stage):
    """One resolution on the way down."""

    def __init__(self, in_channels, out_channels, layers, heads, depth, downsample, padding, options):
        widths = [(in_channels if i == 0 else out_channels, out_channels) for i in range(layers)]
        super().__init__(widths, heads, depth, options)
        self.downsamplers = None
        if downsample:
            conv = Downsample2D(
                out_channels, use_conv=True, out_channels=out_channels, padding=padding, name="op"
            )
            self.downsamplers = nn.ModuleList([conv])

    def forward(
        self, x_bcnhw: torch.Tensor, conditions: Conditions
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The block's output and the skips for the way up."""
        skips = []
        for index in range(len(self.resnets)):
            x_bcnhw = self.run(self.layer, index, x_bcnhw, conditions)
            skips.append(x_bcnhw)
        if self.downsamplers is not None:
            x_bcnhw = _per_frame(self.downsamplers[0], x_bcnhw, x_bcnhw.shape[0])
            skips.append(x_bcnhw)
        return x_bcnhw, skips


class MidBlock(_Checkpointed):
    """The lowest resolution: resnet, Temp-Conv, transformer, resnet, Temp-Conv."""

    def __init__(self, channels: int, heads: int, depth: int, options: BlockOptions):
        super().__init__()
        self.resnets = nn.ModuleList(ResnetBlock(channels, channels, options) for _ in range(2))
        self.temp_convs = (
            nn.ModuleList(TempConv(channels, TEMP_CONV_LAYERS) for _ in range(2))
            if options.temp_conv
            else None
        )
        self.attentions = nn.ModuleList([SpatialTransformer(channels, heads, depth, options)])

    def forward(self, x_bcnhw: torch.Tensor, conditions: Conditions) -> torch.Tensor:
        """b c n h w to the same shape."""
        for index in range(len(self.resnets)):
            x_bcnhw = self.run(self.layer, index, x_bcnhw, conditions)
        return x_bcnhw

    def layer(self, index: int, x_bcnhw: torch.Tensor, conditions: Conditions) -> torch.Tensor:
        """Runs one of the two layers; the transformer begins the second."""
        if index == 1:
            x_bcnhw = _attended(self.attentions[0], x_bcnhw, conditions)
        x_bcnhw = self.resnets[index](x_bcnhw, conditions.time_bd)
        if self.temp_convs is not None:
            x_bcnhw = self.temp_convs[index](x_bcnhw)
        return x_bcnhw


class UpBlock(_Stage):
    """One resolution on the way up; each layer takes a skip of the way down."""

    freeu: FreeU | None = None

    def __init__(self, in_channels, out_channels, skip_channels, layers, heads, depth, upsample, options):
        widths = [
            ((in_channels if i == 0 else out_channels) + skip_channels[i], out_channels)
            for i in range(layers)
        ]
        super().__init__(widths, heads, depth, options)
        self.upsamplers = None
        if upsample:
            conv = Upsample2D(out_channels, use_conv=True, out_channels=out_channels)
            self.upsamplers = nn.ModuleList([conv])

    def forward(
        self,
        x_bcnhw: torch.Tensor,
        skips: list[torch.Tensor],
        conditions: Conditions,
        out_size: tuple[int, int],
        deep: DeepFeatures | None = None,
    ) -> torch.Tensor:
        """Consumes `skips` (last first) and, below the top, grows to `out_size`.

        `deep` gets what reaches the last layer from below.
        """
        for index, skip in enumerate(reversed(skips)):
            if deep is not None and index == len(skips) - 1:
                deep.keep(x_bcnhw)
            x_bcnhw = self.run(self.joining_layer, index, x_bcnhw, skip, conditions)
        if self.upsamplers is not None:
            grown = self.upsamplers[0](fold_frames(x_bcnhw), output_size=out_size)
            x_bcnhw = unfold_frames(grown, x_bcnhw.shape[0])
        return x_bcnhw

    def last_layer(
        self, below_bcnhw: torch.Tensor, skip_bcnhw: torch.Tensor, conditions: Conditions
    ) -> torch.Tensor:
        """The last layer alone, on what reached it from below in an earlier pass."""
        return self.joining_layer(len(self.resnets) - 1, below_bcnhw, skip_bcnhw, conditions)

    def joining_layer(
        self, index: int, x_bcnhw: torch.Tensor, skip_bcnhw: torch.Tensor, conditions: Conditions
    ) -> torch.Tensor:
        """Runs layer `index` on what comes from below and its skip; joined here, both are kept but once."""
        if self.freeu is not None:
            x_bcnhw, skip_bcnhw = self.freeu(x_bcnhw, skip_bcnhw)
        return self.layer(index, torch.cat([x_bcnhw, skip_bcnhw], dim=1), conditions)


def _per_frame(module: nn.Module, x_bcnhw: torch.Tensor, num_videos: int) -> torch.Tensor:
    return unfold_frames(module(fold_frames(x_bcnhw)), num_videos)


def _attended(transformer: nn.Module, x_bcnhw: torch.Tensor, conditions: Conditions) -> torch.Tensor:
    frames_nc = conditions.frames_nc.get(x_bcnhw.shape[1])
    out_bcnhw: torch.Tensor = transformer(x_bcnhw, conditions.text, frames_nc)
    return out_bcnhw
