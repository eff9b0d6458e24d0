"""What the decoder is trained to lower: pixels, their changes from frame to frame, LPIPS, and a discriminator.

All clips are (b, n, 3, h, w) in about [-1, 1], decoded and real ones, and every loss is one number per clip: its
mean over a batch is the mean over the workers' shares of it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from tasks.errors import RequestError
from tasks.training.adversary import Adversary, adaptive_weight
from tasks.training.perceptual import Perceptual, load_perceptual
from tasks.training.settings import DecoderSettings
from vidrd_model import TemporalVAE

DISCRIMINATOR_LR = 1e-4


class DecoderLoss:
    """The decoder's loss as `settings` weight it; `notes` are the lines that a training has to say about it.

    Nothing in it hangs on the worker or is random; what it learns while it trains is in `state()`.
    """

    def __init__(self, settings: DecoderSettings, device: torch.device) -> None:
        self.settings = settings
        self.notes: list[str] = []
        self.perceptual: Perceptual | None = None
        if settings.perceptual_weight:
            self.perceptual, note = load_perceptual(device)
            self.notes.append(note)
        self.adversary: Adversary | None = None
        if settings.adversarial_weight:
            self.adversary = Adversary(settings.seed, DISCRIMINATOR_LR, device)

    def losses(
        self, decoded_bnchw: torch.Tensor, pixels_bnchw: torch.Tensor, last_layer: torch.Tensor, step: int
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Returns the loss of each clip (b,) in a training step, and its parts, each (b,) without gradients.

        `last_layer` is the last trained weight, see `last_trained_layer`. The discriminator learns in here: call it
        once per batch, on every worker, and go backward before the next call.
        """
        losses_b, parts = self.reconstruction(decoded_bnchw, pixels_bnchw)
        if self.adversary is None or step < self.settings.adversarial_from_step:
            return losses_b, parts
        # Before its losses are taken: its weights must not change between the decoder's forward and backward pass.
        discriminator = self.adversary.learn(decoded_bnchw, pixels_bnchw)
        adversarial_b = self.adversary.generator_losses(decoded_bnchw)
        weight = adaptive_weight(losses_b.mean(), adversarial_b.mean(), last_layer)
        parts |= {
            "adversarial": adversarial_b.detach(),
            "adaptive_weight": weight.expand(len(losses_b)),
            "discriminator": discriminator.expand(len(losses_b)),
        }
        return losses_b + self.settings.adversarial_weight * weight * adversarial_b, parts

    def reconstruction(
        self, decoded_bnchw: torch.Tensor, pixels_bnchw: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Returns the loss without the discriminator, (b,), and its parts: what held-out clips are measured by."""
        decoded_bnchw, pixels_bnchw = decoded_bnchw.float(), pixels_bnchw.float()
        errors = decoded_bnchw - pixels_bnchw
        l1_b = errors.abs().flatten(1).mean(1)
        temporal_l1_b = (
            errors.diff(dim=1).abs().flatten(1).mean(1)
        )  # the error of the change is the change of the error
        losses_b = l1_b + self.settings.temporal_weight * temporal_l1_b
        mse_b = errors.detach().square().flatten(1).mean(1).clamp_min(1e-10)
        parts = {
            "l1": l1_b.detach(),
            "temporal_l1": temporal_l1_b.detach(),
            "psnr_db": 10 * torch.log10(4 / mse_b),  # the range of the pixels is 2
        }
        if self.perceptual is not None:
            perceptual_b = self.perceptual.distances(decoded_bnchw, pixels_bnchw)
            losses_b = losses_b + self.settings.perceptual_weight * perceptual_b
            parts["perceptual"] = perceptual_b.detach()
        return losses_b, parts

    def state(self) -> dict[str, Any]:
        """Returns what a checkpoint keeps: whether LPIPS was on, and the discriminator (its tensors, not copies)."""
        return {
            "perceptual": self.perceptual is not None,
            "adversary": None if self.adversary is None else self.adversary.state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Goes on from a checkpoint of the same settings.

        A training that began without LPIPS goes on without; RequestError when it began with and has it no more.
        """
        if state["perceptual"] and self.perceptual is None:
            raise RequestError(
                f"decoder.perceptual_weight: the training began with LPIPS; now: {self.notes[0]}"
            )
        if not state["perceptual"] and self.perceptual is not None:
            self.perceptual = None
            self.notes = ["perceptual loss off: the training began without it"]
        if self.adversary is not None:
            self.adversary.load_state(state["adversary"])


def last_trained_layer(vae: TemporalVAE) -> nn.Parameter:
    """Returns the weight of the decoder's last temporal convolution."""
    return vae.decoder.up_blocks[-1].temp_convs[-1].convs[-1].weight
