"""TemporalUNet: a Stable Diffusion UNet with VidRD's temporal layers (spec: Reuse and Diffuse, section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.hooks.group_offloading import _is_group_offload_enabled
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput
from diffusers.utils.accelerate_utils import apply_forward_hook
from torch import nn

from vidrd_model.attention import TextAttention, TextStates
from vidrd_model.attention_options import AttentionOptions
from vidrd_model.blocks import (
    BLOCKS,
    BlockOptions,
    Conditions,
    DownBlock,
    MidBlock,
    SpatialTransformer,
    UpBlock,
)
from vidrd_model.deep_features import DeepFeatures
from vidrd_model.dropout import number_dropouts
from vidrd_model.errors import ModelError
from vidrd_model.image_models import load_image_part, take_image_weights
from vidrd_model.lora import UNetLoraMixin, adapter_state
from vidrd_model.memory_format import AnyMemoryFormat
from vidrd_model.temporal_layers import (
    TEMPORAL_MARK,
    PooledGroupNorm,
    fold_frames,
    frame_embedding,
    reset_temporal_layers,
    train_only,
    unfold_frames,
)

TRAINABLE_SETS: dict[str, tuple[str, ...]] = {
    "temporal": (TEMPORAL_MARK,),
    "paper": (TEMPORAL_MARK, ".attn1.", ".attn2."),
    "all": ("",),
}
"""Name of a trainable set -> the parts of parameter names in it."""

# What an image UNet may say in its config without our supporting it, as long as it says the default.
_NOT_SUPPORTED = (
    "addition_embed_type",
    "class_embed_type",
    "dual_cross_attention",
    "encoder_hid_dim",
    "num_class_embeds",
    "only_cross_attention",
    "center_input_sample",
    "time_cond_proj_dim",
)


class TemporalUNet(AnyMemoryFormat, ModelMixin, ConfigMixin, AttentionOptions, UNetLoraMixin):
    """A UNet that denoises videos: b c n h w in and out; with one frame it is the image UNet.

    The config is that of diffusers' `UNet2DConditionModel`, and so are the parameter names of its spatial layers.
    `attention_head_dim` means the NUMBER of heads, as in Stable Diffusion's configs. `frame_embedding` says where
    the frame index enters: `attention` (the input of Temp-Attn only), `residual` (the published weights' quirk Q1)
    or `none`.
    """

    _supports_gradient_checkpointing = True
    _repeated_blocks: ClassVar = [block.__name__ for block in BLOCKS]

    @register_to_config
    def __init__(
        self,
        sample_size: int | None = None,
        in_channels: int = 4,
        out_channels: int = 4,
        down_block_types: tuple[str, ...] = ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types: tuple[str, ...] = ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280),
        layers_per_block: int = 2,
        transformer_layers_per_block: int = 1,
        attention_head_dim: int | tuple[int, ...] = 8,
        cross_attention_dim: int = 1024,
        use_linear_projection: bool = True,
        norm_num_groups: int = 32,
        norm_eps: float = 1e-5,
        dropout: float = 0.0,
        downsample_padding: int = 1,
        flip_sin_to_cos: bool = True,
        freq_shift: int = 0,
        temp_conv: bool = True,
        temp_attention: bool = True,
        frame_embedding: str = "attention",
    ):
        super().__init__()
        if frame_embedding not in ("attention", "residual", "none"):
            raise ModelError(f"frame_embedding must be attention, residual or none, not {frame_embedding!r}")
        widths = list(block_out_channels)
        heads = _per_level(attention_head_dim, len(widths), "attention_head_dim")
        depth = transformer_layers_per_block
        time_width = widths[0] * 4
        options = BlockOptions(
            time_width=time_width,
            text_width=cross_attention_dim,
            groups=norm_num_groups,
            eps=norm_eps,
            dropout=dropout,
            linear_projection=use_linear_projection,
            temp_conv=temp_conv,
            temp_attention=temp_attention,
            frame_embedding=frame_embedding,
        )
        self.conv_in = nn.Conv2d(in_channels, widths[0], 3, padding=1)
        self.time_proj = Timesteps(widths[0], flip_sin_to_cos, freq_shift)
        self.time_embedding = TimestepEmbedding(widths[0], time_width)

        levels = _Levels(widths, heads, layers_per_block, depth)
        self.down_blocks, skip_channels = _down_blocks(down_block_types, levels, downsample_padding, options)
        self.mid_block = MidBlock(widths[-1], heads[-1], depth, options)
        self.up_blocks = _up_blocks(up_block_types, levels, skip_channels, options)
        self.conv_norm_out = PooledGroupNorm(norm_num_groups, widths[0], eps=norm_eps)
        self.conv_out = nn.Conv2d(widths[0], out_channels, 3, padding=1)
        for slot, attention in enumerate(self._text_attentions()):
            attention.slot = slot
        self._transformer_channels = sorted(
            {module.channels for module in self.modules() if isinstance(module, SpatialTransformer)}
        )
        number_dropouts(self)

    @classmethod
    def from_image_unet(cls, image_unet: UNet2DConditionModel | str | Path, **settings: Any) -> TemporalUNet:
        """Builds a video UNet with fresh temporal layers, in eval mode, from an image UNet.

        image_unet: a model, or a Stable Diffusion 1.5 or 2 folder or hub id (`id@revision` pins it). `settings`
        override config entries, such as `frame_embedding`. Raises ModelError for what cannot be loaded, and for an
        architecture with parts that VidRD does not have.
        """
        if not isinstance(image_unet, UNet2DConditionModel):
            image_unet = load_image_part(UNet2DConditionModel, image_unet, "unet")
        config = dict(image_unet.config)
        for key in _NOT_SUPPORTED:
            if config.get(key):
                raise ModelError(
                    f"the image UNet sets {key}={config[key]!r}, which TemporalUNet does not have"
                )
        known = cls._get_init_keys(cls)
        unet = cls(**{k: v for k, v in config.items() if k in known} | settings)
        return take_image_weights(unet, image_unet)

    def set_trainable(self, name: str) -> list[str]:
        """Freezes all but the set `temporal`, `paper` (plus self- and cross-attention) or `all`; returns names."""
        if name not in TRAINABLE_SETS:
            raise ModelError(f"trainable must be one of {', '.join(TRAINABLE_SETS)}, not {name!r}")
        return train_only(self, TRAINABLE_SETS[name])

    def reset_temporal_layers(self, seed: int) -> None:
        """Fresh temporal layers with zero output, seeded: the model computes what its image model does."""
        reset_temporal_layers(self, seed)

    @apply_forward_hook
    def project_text(self, text_btd: torch.Tensor) -> TextStates:
        """Every cross-attention's keys and values of text states, for many steps with the same text.

        With group offloading the states themselves: weights then come with the forward pass of their block alone. So
        too where an attention processor has been set, which projects them itself.
        """
        layers = self._text_attentions()
        if _is_group_offload_enabled(self) or any(layer.is_processed for layer in layers):
            return text_btd
        return tuple(layer.project(text_btd) for layer in layers)

    def projection_state(self) -> object:
        """What the projections of a text depend on beside it: another one means that they have to be made anew."""
        return [(layer.processor, adapter_state(layer)) for layer in self._text_attentions()]

    def _text_attentions(self) -> list[TextAttention]:
        return [module for module in self.modules() if isinstance(module, TextAttention)]

    def forward(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor | float | int,
        encoder_hidden_states: TextStates,
        return_dict: bool = True,
        deep: DeepFeatures | None = None,
    ) -> UNet2DConditionOutput | tuple[torch.Tensor]:
        """Predicts the scheduler's target for noisy latents.

        sample: b c n h w; timestep: a number or (b,); encoder_hidden_states: b t d, one text per video, or (b n) t d,
        one per frame, or what `project_text` made of it. Where `deep` holds what an earlier pass computed of these
        videos, the first convolution and the last layer are computed alone; else it gets that of this pass.
        """
        videos = sample.shape[0]
        time_bd = self._embed_time(timestep, sample)
        frames_nc = self._embed_frames(sample.shape[2], time_bd)
        conditions = Conditions(F.silu(time_bd), encoder_hidden_states, frames_nc)
        x = sample.contiguous(memory_format=torch.channels_last_3d)
        x = unfold_frames(self.conv_in(fold_frames(x)), videos)

        below = None if deep is None else deep.of(videos)
        if below is None:
            x = self._through_all_blocks(x, conditions, deep)
        else:
            last = cast(UpBlock, self.up_blocks[-1])
            x = last.last_layer(below, x, conditions)
        x = self.conv_out(fold_frames(F.silu(self.conv_norm_out(x))))
        out = unfold_frames(x, videos).contiguous()
        return UNet2DConditionOutput(sample=out) if return_dict else (out,)

    def _through_all_blocks(
        self, x: torch.Tensor, conditions: Conditions, deep: DeepFeatures | None
    ) -> torch.Tensor:
        skips = [x]
        for block in self.down_blocks:
            x, more = block(x, conditions)
            skips += more
        x = self.mid_block(x, conditions)
        skips_per_block = self.config.layers_per_block + 1
        for block in self.up_blocks:
            taken, skips = skips[-skips_per_block:], skips[:-skips_per_block]
            out_size = tuple(skips[-1].shape[-2:]) if skips else tuple(x.shape[-2:])
            x = block(x, taken, conditions, out_size, None if skips else deep)
        return x

    def _embed_time(self, timestep: torch.Tensor | float | int, sample: torch.Tensor) -> torch.Tensor:
        steps = torch.as_tensor(timestep, device=sample.device).expand(sample.shape[0])
        return self.time_embedding(self.time_proj(steps).to(sample.dtype))

    def _embed_frames(self, num_frames: int, like: torch.Tensor) -> dict[int, torch.Tensor]:
        """By the channels of the transformers, of whose tokens `like` has the device and dtype, under autocast too."""
        if self.config.frame_embedding == "none":
            return {}
        return {
            channels: frame_embedding(num_frames, channels, like) for channels in self._transformer_channels
        }


def _per_level(value: int | tuple[int, ...] | list[int], levels: int, name: str) -> list[int]:
    values = [value] * levels if isinstance(value, int) else list(value)
    if len(values) != levels:
        raise ModelError(f"{name} names {len(values)} levels, block_out_channels {levels}")
    return values


@dataclass(frozen=True)
class _Levels:
    """The levels of a UNet, from the largest frames to the smallest: channels and heads of each, and their depth."""

    widths: list[int]
    heads: list[int]
    layers: int
    attention_layers: int

    def heads_of(self, level: int, kind: str) -> int | None:
        """None for the kinds of blocks that have no attention."""
        return self.heads[level] if "CrossAttn" in kind else None


def _down_blocks(
    kinds: tuple[str, ...], levels: _Levels, padding: int, options: BlockOptions
) -> tuple[nn.ModuleList, list[int]]:
    """The blocks on the way down, and the channels of every skip that they and the first convolution leave."""
    blocks, last, before = nn.ModuleList(), len(levels.widths) - 1, levels.widths[0]
    skip_channels = [before]
    for level, (kind, width) in enumerate(zip(kinds, levels.widths, strict=True)):
        heads, layers = levels.heads_of(level, kind), levels.layers
        blocks.append(
            DownBlock(before, width, layers, heads, levels.attention_layers, level < last, padding, options)
        )
        skip_channels += [width] * (layers + (level < last))
        before = width
    return blocks, skip_channels


def _up_blocks(
    kinds: tuple[str, ...], levels: _Levels, skip_channels: list[int], options: BlockOptions
) -> nn.ModuleList:
    """The blocks on the way up, which take the skips from the last one on."""
    blocks, before, layers = nn.ModuleList(), levels.widths[-1], levels.layers + 1
    skips = skip_channels.copy()
    for level, kind in zip(reversed(range(len(levels.widths))), kinds, strict=True):
        width, heads = levels.widths[level], levels.heads_of(level, kind)
        taken = [skips.pop() for _ in range(layers)]
        blocks.append(
            UpBlock(before, width, taken, layers, heads, levels.attention_layers, level > 0, options)
        )
        before = width
    return blocks
