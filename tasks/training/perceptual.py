"""LPIPS as a part of the decoder's loss, where the weights of its backbone are at hand.

The distances' own weights come with torchmetrics; those of the backbone, VGG16 of torchvision, are half a gigabyte
that nothing here fetches: they are read from torch's cache, `$TORCH_HOME/hub/checkpoints`. Without them the loss goes
without, and says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torchvision.models import VGG16_Weights

from vidrd_model.errors import ModelError
from vidrd_model.weights_file import read_weights


@dataclass(frozen=True)
class Perceptual:
    """LPIPS with a frozen network (`net`), in float32 whatever the training computes in."""

    net: nn.Module

    def distances(self, decoded_bnchw: torch.Tensor, pixels_bnchw: torch.Tensor) -> torch.Tensor:
        """Returns each clip's mean LPIPS over its frames, (b,); clips (b, n, 3, h, w) in about [-1, 1], from 32x32."""
        frames = decoded_bnchw.shape[1]
        with torch.autocast(decoded_bnchw.device.type, enabled=False):
            distances = self.net(decoded_bnchw.float().flatten(0, 1), pixels_bnchw.float().flatten(0, 1))
        return distances.flatten().unflatten(0, (-1, frames)).mean(1)


def backbone_file() -> Path:
    """Returns where torch keeps the backbone's weights; it need not be there."""
    return Path(torch.hub.get_dir(), "checkpoints", Path(VGG16_Weights.DEFAULT.url).name)


def load_perceptual(device: torch.device) -> tuple[Perceptual | None, str]:
    """Returns LPIPS on `device`, or None, and one line that says which and why.

    Never an error and never a download. Workers of one training agree: where one lacks the weights, all go without.
    """
    file = backbone_file()
    net = trouble = None
    if not file.is_file():
        trouble = f"{file} is not there"
    else:
        try:
            net = _load(file, device)
        except (ModelError, KeyError, RuntimeError) as error:  # RuntimeError: tensors of other shapes
            trouble = f"{file} cannot be read: {' '.join(str(error).split())[:200]}"
    trouble = _first_trouble(trouble)
    if net is None or trouble is not None:
        return None, f"perceptual loss off: {trouble}"
    return Perceptual(net), f"perceptual loss: LPIPS on {file.name}"


def _load(file: Path, device: torch.device) -> nn.Module:
    # Imported here: without the weights, which few machines have, every worker would pay a second for it.
    from torchmetrics.functional.image.lpips import _NoTrainLpips

    # torchmetrics' metric would read the file through torch.hub, which unpickles it freely; besides, it refuses
    # pixels below -1, which a decoder in training has.
    state = read_weights(file)
    if not isinstance(state, dict):
        raise ModelError(f"{file}: holds no state dict")
    net = _NoTrainLpips(net="vgg", pnet_rand=True)
    # torchmetrics deals VGG16's layers, under their own numbers, out to five slices.
    names = {name: f"features.{name.split('.', 1)[1]}" for name in net.net.state_dict()}
    net.net.load_state_dict({name: state[layer] for name, layer in names.items()})
    return net.to(device)


def _first_trouble(trouble: str | None) -> str | None:
    """Returns the first worker's reason to go without, for all workers; None when all have what they need."""
    if not (dist.is_initialized() and dist.get_world_size() > 1):
        return trouble
    troubles: list[str | None] = [None] * dist.get_world_size()
    dist.all_gather_object(troubles, trouble)
    return next((each for each in troubles if each is not None), None)
