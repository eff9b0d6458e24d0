"""What diffusers' models can be told of their attention, and of what it looks at on the way up, on our UNet."""

from __future__ import annotations

from typing import Any

from diffusers.models.attention import AttentionMixin
from diffusers.models.attention_processor import AttentionProcessor, FusedAttnProcessor2_0
from torch import nn

from vidrd_model.attention import Attention, HeadViews
from vidrd_model.freeu import FreeU


class AttentionOptions(AttentionMixin):
    """A UNet that takes attention processors, fused projections and FreeU under their names in diffusers.

    `attn_processors` and `set_attn_processor` are diffusers' own: of self-, cross- and temporal attention alike.
    """

    up_blocks: nn.ModuleList
    _before_fusing: dict[str, AttentionProcessor] | None = None

    def set_default_attn_processor(self) -> None:
        """Lets the layers attend in their own way again."""
        self.set_attn_processor(HeadViews())

    def fuse_qkv_projections(self) -> None:
        """One projection instead of two or three for each attention layer, until they are taken apart again."""
        self._before_fusing = self.attn_processors
        for layer in self._attention_layers():
            layer.fuse_projections()
        self.set_attn_processor(FusedAttnProcessor2_0())

    def unfuse_qkv_projections(self) -> None:
        """Takes the projections apart, and sets the processors that were there before."""
        if self._before_fusing is None:
            return
        self.set_attn_processor(self._before_fusing)
        for layer in self._attention_layers():
            delattr(layer, "to_kv" if layer.is_cross_attention else "to_qkv")
            layer.fused_projections = False
        self._before_fusing = None

    def enable_freeu(self, s1: float, s2: float, b1: float, b2: float) -> None:
        """FreeU at the two lowest stages of the way up, frame by frame, as in diffusers (arXiv 2309.11497).

        `s` is for the skips and `b` for what comes from below; 1 leaves it as it is.
        """
        for block, skip, backbone in zip(self.up_blocks, (s1, s2), (b1, b2), strict=False):
            block.freeu = FreeU(skip, backbone)  # type: ignore[assignment]

    def disable_freeu(self) -> None:
        """Without FreeU again."""
        for block in self.up_blocks:
            block.freeu = None  # type: ignore[assignment]

    def _attention_layers(self) -> list[Any]:
        return [module for module in self.modules() if isinstance(module, Attention)]
