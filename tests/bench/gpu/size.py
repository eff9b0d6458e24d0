"""Models of Stable Diffusion 2.1's size with random weights, and the same small enough for a CPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from diffusers import DDIMScheduler

from vidrd_model import TemporalUNet, TemporalVAE

FRAMES = 8


@dataclass(frozen=True)
class Size:
    """Widths of the models, where they run, and what they compute in."""

    device: str
    precision: Literal["float32", "bfloat16"]
    widths: tuple[int, ...]
    heads: tuple[int, ...]
    text_width: int
    text_tokens: int
    latent_size: int
    vae_widths: tuple[int, ...]
    steps: int
    side_px: int

    @property
    def dtype(self) -> torch.dtype:
        """Of the models that only infer."""
        dtype: torch.dtype = getattr(torch, self.precision)
        return dtype

    def noise(self, videos: int) -> torch.Tensor:
        """Latents b c n h w."""
        shape = (videos, 4, FRAMES, self.latent_size, self.latent_size)
        return torch.randn(shape, device=self.device, dtype=self.dtype)

    def text_states(self, texts: int) -> torch.Tensor:
        """States b t d of a text encoder."""
        shape = (texts, self.text_tokens, self.text_width)
        return torch.randn(shape, device=self.device, dtype=self.dtype)

    def blocks(self, kind: str) -> dict[str, Any]:
        """The blocks and widths of a UNet whose blocks are called by this kind, as diffusers' configs name them."""
        cross = len(self.widths) - 1
        return {
            "down_block_types": (f"CrossAttnDownBlock{kind}",) * cross + (f"DownBlock{kind}",),
            "up_block_types": (f"UpBlock{kind}",) + (f"CrossAttnUpBlock{kind}",) * cross,
            "block_out_channels": self.widths,
            "cross_attention_dim": self.text_width,
        }

    def unet(self, dtype: torch.dtype | None = None) -> TemporalUNet:
        """The video UNet."""
        with torch.device(self.device):
            unet = TemporalUNet(
                sample_size=self.latent_size, attention_head_dim=self.heads, **self.blocks("2D")
            )
        return unet.to(dtype or self.dtype)

    def vae(self) -> TemporalVAE:
        """The autoencoder with its temporal decoder, in the same precision."""
        levels = len(self.vae_widths)
        with torch.device(self.device):
            vae = TemporalVAE(
                down_block_types=("DownEncoderBlock2D",) * levels,
                up_block_types=("UpDecoderBlock2D",) * levels,
                block_out_channels=self.vae_widths,
                layers_per_block=2,
            )
        return vae.to(self.dtype)


REAL = Size(
    "cuda", "bfloat16", (320, 640, 1280, 1280), (5, 10, 20, 20), 1024, 77, 32, (128, 256, 512, 512), 50, 256
)
TINY = Size("cpu", "float32", (32, 64), (2, 4), 32, 8, 8, (32, 32), 3, 64)


def scheduler() -> DDIMScheduler:
    """The tiny models' schedule is Stable Diffusion 2.1's."""
    return DDIMScheduler.from_pretrained("infra/profiles/tiny/model/scheduler")
