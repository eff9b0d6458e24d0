"""FreeU (arXiv 2309.11497): on a UNet's way up, what comes from below counts more than the skips' coarse features."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers.utils.torch_utils import fourier_filter

from vidrd_model.temporal_layers import fold_frames, unfold_frames


@dataclass(frozen=True)
class FreeU:
    """What half of the backbone's channels and the lowest frequencies of a skip are multiplied with at one stage."""

    skip: float
    backbone: float

    def __call__(self, x_bcnhw: torch.Tensor, skip_bcnhw: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What comes from below and its skip, b c n h w, each frame by itself."""
        half = x_bcnhw.shape[1] // 2
        x_bcnhw = torch.cat([x_bcnhw[:, :half] * self.backbone, x_bcnhw[:, half:]], dim=1)
        filtered = fourier_filter(fold_frames(skip_bcnhw), threshold=1, scale=self.skip)
        return x_bcnhw, unfold_frames(filtered, len(x_bcnhw))
