"""LPIPS as a part of the decoder's loss, where the weights of its backbone are at hand.

The distances' own weights come with torchmetrics; those of the backbone, VGG16 of torchvision, are half a gigabyte
that nothing here fetches: they are read from torch's cache, `$TORCH_HOME/hub/checkpoints`. Without them the loss goes
without, and says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Perceptual:
    """LPIPS with a frozen network (`net`), in float32 whatever the training computes in."""

    net: nn.Module

    def distances(self, decoded_bnchw: torch.Tensor, pixels_bnchw: torch.Tensor) -> torch.Tensor:
        """Mean LPIPS over the frames of each clip, (b,); clips (b, n, 3, h, w) in about [-1, 1], h and w from 32."""
        frames = decoded_bnchw.shape[1]
        with torch.autocast(decoded_bnchw.device.type, enabled=False):
            distances = self.net(decoded_bnchw.float().flatten(0, 1), pixels_bnchw.float().flatten(0, 1))
        return distances.flatten().unflatten(0, (-1, frames)).mean(1)


def backbone_file() -> Path:
    """Where torch keeps the backbone's weights; it need not be there."""
    from torchvision.models import VGG16_Weights

    return Path(torch.hub.get_dir(), "checkpoints", Path(VGG16_Weights.DEFAULT.url).name)


def load_perceptual(device: torch.device) -> tuple[Perceptual | None, str]:
    """LPIPS on `device`, or None, and one line that says which and why.

    Never an error and never a download. Workers of one training agree: where one lacks the weights, all go without.
    """
    file = backbone_file()
    net = trouble = None
    if not file.is_file():
        trouble = f"{file} is not there"
    else:
        try:
            net = _load(device)
        except (
            Exception
        ) as error:  # a file that is no such weights fails in as many ways as pickle and torch have
            trouble = f"{file} cannot be read: {' '.join(str(error).split())[:200]}"
    trouble = _first_trouble(trouble)
    if net is None or trouble is not None:
        return None, f"perceptual loss off: {trouble}"
    return Perceptual(net), f"perceptual loss: LPIPS on {file.name}"


def _load(device: torch.device) -> nn.Module:
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    # The metric around the network refuses pixels below -1, which a decoder in training has.
    return LearnedPerceptualImagePatchSimilarity(net_type="vgg").net.to(device)


def _first_trouble(trouble: str | None) -> str | None:
    """The first worker's reason to go without, for all workers; None when all have what they need."""
    if not (dist.is_initialized() and dist.get_world_size() > 1):
        return trouble
    troubles: list[str | None] = [None] * dist.get_world_size()
    dist.all_gather_object(troubles, trouble)
    return next((each for each in troubles if each is not None), None)
