"""A 3-D patch discriminator that helps the decoder to textures and motion which L1 averages away: optional.

The hinge game of VQGAN (arXiv 2012.09841) on clips: the discriminator learns to tell patches of real clips from
decoded ones, the decoder to be taken for real, with a weight that keeps the game's pull on the last trained layer
as strong as the reconstruction's.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

MAX_ADAPTIVE_WEIGHT = 1e4


class PatchDiscriminator(nn.Module):
    """Strided 3-D convolutions from clips (b, 3, n, h, w) to a logit per patch (b, 1, n', h', w'); high is real."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = [_conv(3, width, stride=2), nn.LeakyReLU(0.2)]
        # Norms over one clip at a time: a clip's logits do not depend on the rest of the batch.
        for channels, stride in ((width, 2), (2 * width, 2), (4 * width, 1)):
            layers += [
                _conv(channels, 2 * channels, stride),
                nn.GroupNorm(8, 2 * channels),
                nn.LeakyReLU(0.2),
            ]
        self.layers = nn.Sequential(*layers, _conv(8 * width, 1, stride=1))

    def forward(self, clips_bcnhw: torch.Tensor) -> torch.Tensor:
        """Returns the logits of the patches; n at least 1, h and w at least 32."""
        return self.layers(clips_bcnhw)


class Adversary:
    """The discriminator with its optimizer: it scores what the decoder makes, and learns.

    Workers of one training hold the same discriminator: the same weights from `seed` and, whatever their clips,
    the same steps, since gradients are averaged over them.
    """

    def __init__(self, seed: int, lr: float, device: torch.device, width: int = 64) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.discriminator = PatchDiscriminator(width).to(device)
        self.optimizer = torch.optim.AdamW(self.discriminator.parameters(), lr=lr, betas=(0.5, 0.9))

    def generator_losses(self, decoded_bnchw: torch.Tensor) -> torch.Tensor:
        """Returns minus the mean logit of each clip, (b,): how little it passes for real; the decoder alone learns."""
        self.discriminator.requires_grad_(False)
        logits = self.discriminator(_as_clips(decoded_bnchw))
        self.discriminator.requires_grad_(True)
        return -logits.float().flatten(1).mean(1)

    def learn(self, decoded_bnchw: torch.Tensor, pixels_bnchw: torch.Tensor) -> torch.Tensor:
        """Makes one step of the discriminator on real and decoded clips (b, n, 3, h, w); returns its hinge loss.

        Every worker of a training has to call it in the same steps. A loss that is not finite is no step, on any.
        """
        with torch.enable_grad():
            real = self.discriminator(_as_clips(pixels_bnchw.detach()))
            decoded = self.discriminator(_as_clips(decoded_bnchw.detach()))
            loss = 0.5 * (F.relu(1 - real).mean() + F.relu(1 + decoded).mean())
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
        gradients = [p.grad for p in self.discriminator.parameters() if p.grad is not None]
        _average_over_workers(gradients)
        if nn.utils.get_total_norm(gradients).isfinite():
            self.optimizer.step()
        return loss.detach()

    def state(self) -> dict[str, Any]:
        """Returns what a checkpoint keeps, weights and optimizer: the tensors that are trained, not copies."""
        return {"weights": self.discriminator.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Goes on from `state`."""
        self.discriminator.load_state_dict(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])


def adaptive_weight(
    reconstruction: torch.Tensor, generator: torch.Tensor, last_layer: torch.Tensor
) -> torch.Tensor:
    """Returns |d reconstruction / d w| / |d generator / d w|, w the last trained weight, up to `MAX_ADAPTIVE_WEIGHT`.

    Both losses are scalars whose graphs are kept. The norms are of the gradients averaged over all workers, so that
    the weight is that of the whole batch.
    """
    gradients = [
        torch.autograd.grad(loss, last_layer, retain_graph=True)[0].detach()
        for loss in (reconstruction, generator)
    ]
    _average_over_workers(gradients)
    of_reconstruction, of_generator = (gradient.norm() for gradient in gradients)
    return (of_reconstruction / (of_generator + 1e-4)).clamp(0, MAX_ADAPTIVE_WEIGHT)


def _average_over_workers(tensors: list[torch.Tensor]) -> None:
    """Replaces tensors by their means over the workers, in one exchange."""
    if not (dist.is_initialized() and dist.get_world_size() > 1):
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    start = 0
    for tensor in tensors:
        tensor.copy_(flat[start : start + tensor.numel()].view_as(tensor))
        start += tensor.numel()


def _as_clips(frames_bnchw: torch.Tensor) -> torch.Tensor:
    return frames_bnchw.float().transpose(1, 2)


def _conv(channels_in: int, channels_out: int, stride: int) -> nn.Conv3d:
    """Returns a convolution with the kernel 3x4x4, every frame kept, h and w divided by the stride."""
    return nn.Conv3d(channels_in, channels_out, (3, 4, 4), (1, stride, stride), padding=1)
