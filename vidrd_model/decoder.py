"""The decoder of AutoencoderKL with its temporal layers: modules that are called, so that hooks on them fire."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusers.models.autoencoders.vae import Decoder
from diffusers.models.unets.unet_2d_blocks import UpDecoderBlock2D
from torch import nn

from vidrd_model.dropout import with_present_keys
from vidrd_model.temporal_layers import TempConv, fold_frames, unfold_frames

TEMP_CONV_LAYERS = 3

Run = Callable[..., torch.Tensor]
"""Calls a layer with its arguments, keeping what a backward pass needs of it."""


class TemporalUpBlock(UpDecoderBlock2D):
    """An up block of the decoder with a Temp-Conv after each resnet."""

    def forward(self, x: torch.Tensor, num_frames: int, run: Run) -> torch.Tensor:
        """(b n) c h w to the block's width, and to twice the size unless it is the last one."""
        for index in range(len(self.resnets)):
            x = run(self.layer, index, x, num_frames)
        for upsampler in self.upsamplers or ():
            x = run(upsampler, x)
        return x

    def layer(self, index: int, x: torch.Tensor, num_frames: int) -> torch.Tensor:
        """Runs layer `index` of the block."""
        x = self.resnets[index](x, None)
        if self.temp_convs is not None and num_frames > 1:
            videos = x.shape[0] // num_frames
            x = fold_frames(self.temp_convs[index](unfold_frames(x, videos)))
        return x


class TemporalDecoder(Decoder):
    """AutoencoderKL's decoder whose up blocks look across the frames of a video.

    Made of one that exists, since building another would draw its weights twice.
    """

    up_blocks: Any

    @classmethod
    def made_of(cls, decoder: Decoder, temp_conv: bool) -> TemporalDecoder:
        """Gives a decoder its temporal layers, or None of them, in place."""
        decoder.__class__ = cls
        for block in decoder.up_blocks:
            block.__class__ = TemporalUpBlock
            convs = (
                [TempConv(resnet.out_channels, TEMP_CONV_LAYERS) for resnet in block.resnets]
                if temp_conv
                else None
            )
            block.temp_convs = None if convs is None else nn.ModuleList(convs)
        return decoder

    def forward(self, sample: torch.Tensor, num_frames: int = 1) -> torch.Tensor:
        """Folded latents (b n) c h w, after the quantiser's convolution, to images."""
        x = self.conv_in(sample)
        for index in range(len(self.mid_block.resnets)):
            x = self._run(self._mid_layer, index, x)
        for block in self.up_blocks:
            x = block(x, num_frames, self._run)
        return self._run(self._output_layer, x)

    def _run(self, layer: Run, *args: Any) -> torch.Tensor:
        """Calls a layer; with checkpointing on, it keeps nothing but its input for the backward pass."""
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return self._gradient_checkpointing_func(with_present_keys(layer), *args)
        return layer(*args)

    def _mid_layer(self, index: int, x: torch.Tensor) -> torch.Tensor:
        # Not the block's own forward pass, which checkpoints some of its layers a second time.
        block = self.mid_block
        if index and block.attentions[index - 1] is not None:
            x = block.attentions[index - 1](x)
        return block.resnets[index](x, None)

    def _output_layer(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv_out(self.conv_act(self.conv_norm_out(x)))
