"""The decoder as a trainee: stored latents in, the pixels of real clips to compare with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from storage.dataset import ClipDataset
from tasks.training.base_model import load_base_vae
from tasks.training.decoder_batches import DecoderBatch, DecoderReader
from tasks.training.precision import computing_in, store_frozen
from tasks.training.sampler import EpochClip
from tasks.training.settings import DecoderSettings
from tasks.training.splits import pick_heldout, split_clips
from tasks.training.trainee import Figures, Trainee
from vidrd_model import TemporalVAE


class FrameDecoder(nn.Module):
    """The VAE with decoding as its forward pass, which is what DistributedDataParallel wraps."""

    def __init__(self, vae: TemporalVAE) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, latents_bcnhw: torch.Tensor) -> torch.Tensor:
        """Scaled latents b c n h w to pixels (b, n, 3, h, w) in about [-1, 1]."""
        b, _, n = latents_bcnhw.shape[:3]
        folded = latents_bcnhw.transpose(1, 2).flatten(0, 1) / self.vae.config.scaling_factor
        return self.vae.decode(folded, num_frames=n).sample.unflatten(0, (b, n))


class DecoderTrainee(Trainee):
    """The decoder, the stored latents and pixels of real clips, and its loss."""

    def __init__(self, dataset_ref: str, model_dir: str, settings: DecoderSettings) -> None:
        self.settings = settings
        split = split_clips(ClipDataset.open(dataset_ref), videos_only=True)
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

    def prepare(self, device: torch.device) -> None:
        """Move the VAE, frozen weights in the settings' precision."""
        store_frozen(self.model, self.settings.precision)
        self.model.to(device)
        self.device = device

    def losses(self, model: nn.Module, batch: DecoderBatch, step: int) -> torch.Tensor:
        """L1 between pixels, plus weighted L1 between the changes from frame to frame, (b,)."""
        l1_b, temporal_l1_b, _ = self._distances(model, batch)
        return l1_b + self.settings.temporal_weight * temporal_l1_b

    def heldout_figures(self, samples: Sequence[int]) -> list[Figures]:
        """Loss, its two parts (pixels in [-1, 1]) and PSNR in dB of each sample, a clip."""
        figures: list[Figures] = []
        for i in samples:
            (batch,) = self.reader.read([[self._heldout_clips[i]]])
            l1, temporal_l1, psnr = (v.item() for v in self._distances(self.model, batch.to(self.device)))
            loss = l1 + self.settings.temporal_weight * temporal_l1
            figures.append({"loss": loss, "l1": l1, "temporal_l1": temporal_l1, "psnr_db": psnr})
        return figures

    def reset_temporal_layers(self) -> None:
        """Make the decoder the image decoder that it was."""
        self.vae.reset_temporal_layers(0)

    def _distances(
        self, model: nn.Module, batch: DecoderBatch
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """L1, L1 of the frame-to-frame changes, and PSNR in dB of each clip, (b,)."""
        pixels_bnchw = batch.pixels_bnhwc.permute(0, 1, 4, 2, 3).float() / 127.5 - 1
        with computing_in(self.settings.precision, self.device):
            decoded_bnchw = model(batch.latents_bcnhw)
        decoded_bnchw = decoded_bnchw.float()
        changes = decoded_bnchw.diff(dim=1) - pixels_bnchw.diff(dim=1)
        errors = decoded_bnchw - pixels_bnchw
        mse_b = errors.detach().square().flatten(1).mean(1).clamp_min(1e-10)
        psnr_b = 10 * torch.log10(4 / mse_b)  # the range of the pixels is 2
        return errors.abs().flatten(1).mean(1), changes.abs().flatten(1).mean(1), psnr_b
