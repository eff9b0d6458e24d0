"""The decoder as a part that is trained: stored latents in, the pixels of real clips to compare with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from diffusers.models.resnet import ResnetBlock2D
from torch import nn

from storage.dataset.clip_dataset import ClipDataset
from tasks.training.base_model import load_base_vae
from tasks.training.batches import DecoderBatch, DecoderReader
from tasks.training.decoder_loss import DecoderLoss, last_trained_layer
from tasks.training.devices import Group, computing_in, place
from tasks.training.engine import TrainingPart
from tasks.training.progress import Figures
from tasks.training.sampler import EpochClip
from tasks.training.settings import DecoderSettings
from tasks.training.splits import pick_heldout, split_clips
from vidrd_model import TemporalVAE
from vidrd_model.temporal_layers import TempConv


class FrameDecoder(nn.Module):
    """The VAE with decoding as its forward pass, which is what DistributedDataParallel wraps."""

    def __init__(self, vae: TemporalVAE) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, latents_bcnhw: torch.Tensor) -> torch.Tensor:
        """Decodes scaled latents b c n h w to pixels (b, n, 3, h, w) in about [-1, 1]."""
        b, _, n = latents_bcnhw.shape[:3]
        folded = latents_bcnhw.transpose(1, 2).flatten(0, 1) / self.vae.config.scaling_factor
        return self.vae.decode(folded, num_frames=n).sample.unflatten(0, (b, n))


class DecoderPart(TrainingPart):
    """The decoder, the stored latents and pixels of real clips, and its loss; `left_out` are rows not to use."""

    blocks = (ResnetBlock2D, TempConv)

    def __init__(
        self, dataset_ref: str, model_dir: str, settings: DecoderSettings, left_out: Sequence[int] = ()
    ) -> None:
        self.settings = settings
        split = split_clips(ClipDataset.open(dataset_ref), videos_only=True, left_out=left_out)
        self.train_clips = split.train
        samples = min(settings.heldout_samples, len(split.heldout))
        self._heldout_clips = [EpochClip(0, clip) for clip in pick_heldout(split.heldout, samples)]
        self.heldout_size = samples
        self.reader = DecoderReader(dataset_ref, settings.seed)
        vae = load_base_vae(model_dir)
        vae.set_trainable_temporal()
        if settings.gradient_checkpointing:
            vae.enable_gradient_checkpointing()
        self.vae = vae
        self.model = FrameDecoder(vae)
        self.device = torch.device("cpu")
        self._parts: dict[str, list[torch.Tensor]] = {}

    def prepare(self, device: torch.device) -> None:
        """Moves the VAE, frozen weights in the settings' precision."""
        place(self.model, device, self.settings.precision)
        self.device = device
        self._loss = DecoderLoss(self.settings, device)
        self.notes = self._loss.notes

    def losses(self, model: nn.Module, batch: DecoderBatch, step: int) -> torch.Tensor:
        """Returns the loss of `DecoderLoss`, (b,)."""
        decoded_bnchw, pixels_bnchw = self._decode(model, batch)
        losses_b, parts = self._loss.losses(decoded_bnchw, pixels_bnchw, last_trained_layer(self.vae), step)
        for name, part_b in parts.items():
            self._parts.setdefault(name, []).append(part_b.float())
        return losses_b

    def after_step(self, group: Group, step: int) -> Figures:
        """Returns the means of the loss's parts over the whole batch."""
        parts, self._parts = self._parts, {}
        sums = group.sum(torch.stack([torch.cat(values).sum() for values in parts.values()]))
        return dict(zip(parts, (sums / self.settings.batch_size).tolist(), strict=True))

    def heldout_figures(self, samples: Sequence[int]) -> list[Figures]:
        """Returns of each clip the loss without the discriminator's, its parts (pixels in [-1, 1]) and PSNR in dB."""
        figures: list[Figures] = []
        for i in samples:
            (batch,) = self.reader.read([[self._heldout_clips[i]]])
            losses_b, parts = self._loss.reconstruction(*self._decode(self.model, batch.to(self.device)))
            figures.append({"loss": losses_b.item()} | {name: value.item() for name, value in parts.items()})
        return figures

    def reset_temporal_layers(self) -> None:
        """Makes the decoder the image decoder that it was."""
        self.vae.reset_temporal_layers(0)

    def state(self) -> dict[str, Any]:
        """Returns what the loss has learned."""
        return self._loss.state()

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state` gave."""
        self._loss.load_state(dict(state))
        self.notes = self._loss.notes

    def _decode(self, model: nn.Module, batch: DecoderBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns what the model makes of the latents, and the pixels, both (b, n, 3, h, w) in [-1, 1]."""
        pixels_bnchw = batch.pixels_bnhwc.permute(0, 1, 4, 2, 3).float() / 127.5 - 1
        with computing_in(self.settings.precision, self.device):
            decoded_bnchw = model(batch.latents_bcnhw)
        return decoded_bnchw.float(), pixels_bnchw
