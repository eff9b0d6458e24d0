"""Attention over pixels, text and frames, and the feed-forward between: diffusers' parameter names, less copying.

Everything goes through `scaled_dot_product_attention`, and heads are views of the projections, never permuted copies;
unless somebody sets one of diffusers' attention processors, or one of their own, which then computes it instead.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention as ProcessedAttention
from torch import nn

from vidrd_model.recompute import recomputed

KeyValue = tuple[torch.Tensor, torch.Tensor]
"""Keys and values (b, heads, tokens, channels of a head)."""

TextStates = torch.Tensor | tuple[KeyValue, ...]
"""What cross-attention looks at: text states b t d, or each layer's keys and values of them, by `slot`."""

# More rows than this in one launch is more than CUDA's attention kernels take.
_MAX_HEADS = 65_535

# Hidden values of the feed-forward that a core works on at once, so that they stay in its cache (about 1 MB).
_CPU_CHUNK_VALUES = 2**18


def number_of_texts(text: TextStates) -> int:
    """One for each video, or for each frame of them."""
    return len(text) if isinstance(text, torch.Tensor) else len(text[0][0])


class HeadViews:
    """The layers' own way as an attention processor, which they are made with."""

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """b s c tokens that attend to one another, or to states b t d, to b s c."""
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        return attn.attend(hidden_states, attn.project(context), attention_mask)


class Attention(ProcessedAttention):
    """The projections of an attention layer, to what is attended to and back."""

    def __init__(self, channels: int, heads: int, context_channels: int | None = None):
        super().__init__(
            channels, context_channels, heads=heads, dim_head=channels // heads, processor=HeadViews()
        )

    @property
    def is_processed(self) -> bool:
        """Whether a processor that somebody has set computes the attention."""
        return not isinstance(self.processor, HeadViews)

    def project(self, context_btd: torch.Tensor) -> KeyValue:
        """The keys and values of what is attended to."""
        return self._split(self.to_k(context_btd)), self._split(self.to_v(context_btd))

    def attend(
        self, tokens_bsc: torch.Tensor, context: KeyValue, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """b s c tokens that attend to projected keys and values, to b s c; a mask is PyTorch's."""
        out_bhsd = F.scaled_dot_product_attention(
            self._split(self.to_q(tokens_bsc)), *context, attn_mask=mask
        )
        return self.to_out[0](out_bhsd.transpose(1, 2).flatten(2))

    def _split(self, x_bsc: torch.Tensor) -> torch.Tensor:
        return x_bsc.unflatten(2, (self.heads, -1)).transpose(1, 2)


class SelfAttention(Attention):
    """Tokens that attend to one another."""

    def forward(self, tokens_bsc: torch.Tensor) -> torch.Tensor:
        """b s c to b s c."""
        if self.is_processed:
            return super().forward(tokens_bsc)
        return self.attend(tokens_bsc, self.project(tokens_bsc))


class TextAttention(Attention):
    """Cross-attention to the text of a video, whose keys and values may be projected once for all steps.

    `slot` is its place among the UNet's cross-attentions, set by the UNet.
    """

    slot = 0

    def forward(self, tokens_bsc: torch.Tensor, text: TextStates) -> torch.Tensor:
        """b s c tokens to b s c; the text is states or, for the layer's own way, the projections of every slot."""
        if self.is_processed:
            return super().forward(tokens_bsc, encoder_hidden_states=text)
        context = self.project(text) if isinstance(text, torch.Tensor) else text[self.slot]
        return self.attend(tokens_bsc, context)


class TempAttention(Attention):
    """Temp-Attn's attention: every pixel attends over the frames; its output projection starts at zero."""

    def __init__(self, channels: int, heads: int):
        super().__init__(channels, heads)
        self.zero_output()

    def zero_output(self) -> None:
        """Makes the layer contribute nothing again."""
        for parameter in self.to_out[0].parameters():
            nn.init.zeros_(parameter)

    def forward(self, tokens_bnsc: torch.Tensor) -> torch.Tensor:
        """b n s c to b n s c."""
        if self.is_processed:
            out_bsnc = super().forward(tokens_bnsc.transpose(1, 2).flatten(0, 1))
            return out_bsnc.unflatten(0, (len(tokens_bnsc), -1)).transpose(1, 2)
        query, key, value = (self._per_pixel(to(tokens_bnsc)) for to in (self.to_q, self.to_k, self.to_v))
        parts = [
            F.scaled_dot_product_attention(q, k, v)
            for q, k, v in zip(
                *(x.split(_MAX_HEADS, dim=1) for x in (query, key, value)),
                strict=True,
            )
        ]
        out = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        return self.to_out[0](out.transpose(1, 2).reshape(tokens_bnsc.shape))

    def _per_pixel(self, x_bnsc: torch.Tensor) -> torch.Tensor:
        """A view in which every head of every pixel is a head: b (s heads) n d."""
        return x_bnsc.unflatten(3, (self.heads, -1)).flatten(2, 3).transpose(1, 2)


class FeedForward(nn.Module):
    """The gated feed-forward of a transformer block (GEGLU, four times as wide)."""

    def __init__(self, channels: int):
        super().__init__()
        self.net = nn.ModuleList([_GatedProjection(channels, 4 * channels), nn.Dropout(0.0)])
        self.net.append(nn.Linear(4 * channels, channels))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(..., c) to the same shape."""
        if tokens.device.type != "cpu" or torch.is_grad_enabled() or torch.compiler.is_compiling():
            return recomputed(self._close_gate, self.net[0](tokens))
        rows = tokens.flatten(0, -2)
        out = torch.empty_like(rows)
        chunk = max(1, _CPU_CHUNK_VALUES // (8 * rows.shape[1])) * torch.get_num_threads()
        for part, part_out in zip(rows.split(chunk), out.split(chunk), strict=True):
            part_out.copy_(self._close_gate(self.net[0](part)))
        return out.view_as(tokens)

    def _close_gate(self, wide: torch.Tensor) -> torch.Tensor:
        hidden, gate = wide.chunk(2, dim=-1)
        return self.net[2](hidden * F.gelu(gate))


class _GatedProjection(nn.Module):
    def __init__(self, channels: int, inner: int):
        super().__init__()
        self.proj = nn.Linear(channels, 2 * inner)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., c) to the hidden values and, behind them, their gate."""
        return self.proj(x)
