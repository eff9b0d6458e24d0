"""The decoder as a trainee: stored latents in, the pixels of real clips to compare with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from storage.dataset import ClipDataset
from tasks.clips.video_io import decode_bytes
from tasks.training.base_model import load_base_vae
from tasks.training.data import ClipRow, EpochClip, pick_heldout, split_clips
from tasks.training.engine import Figures
from tasks.training.settings import DecoderSettings
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


class DecoderTrainee:
    """The decoder, the stored latents and pixels of real clips, and its loss."""

    def __init__(self, dataset_ref: str, model_dir: str, settings: DecoderSettings) -> None:
        self.settings = settings
        self.dataset = ClipDataset.open(dataset_ref)
        split = split_clips(self.dataset, videos_only=True)
        self.train_clips = split.train
        self.heldout_clips = pick_heldout(split.heldout, min(settings.heldout_samples, len(split.heldout)))
        self.heldout_size = len(self.heldout_clips)
        vae = load_base_vae(model_dir)
        vae.set_trainable_temporal()
        if settings.gradient_checkpointing:
            vae.enable_gradient_checkpointing()
        self.model = FrameDecoder(vae)
        self.device = torch.device("cpu")

    def to(self, device: torch.device) -> None:
        """Move the VAE."""
        self.model.to(device)
        self.device = device

    def reset_temporal_layers(self) -> None:
        """Make the decoder the image decoder that it was."""
        self.model.vae.reset_temporal_layers(0)

    def loss(self, model: nn.Module, batch: Sequence[EpochClip]) -> torch.Tensor:
        """L1 between pixels, plus weighted L1 between the changes from frame to frame."""
        latents_bcnhw, pixels_bnchw = self._read([item.clip for item in batch])
        l1_b, temporal_l1_b, _ = _distances(model(latents_bcnhw), pixels_bnchw)
        return (l1_b + self.settings.temporal_weight * temporal_l1_b).mean()

    def heldout_figures(self, samples: Sequence[int]) -> list[Figures]:
        """Loss, its two parts (pixels in [-1, 1]) and PSNR in dB of each sample, a clip."""
        figures: list[Figures] = []
        for i in samples:
            latents_bcnhw, pixels_bnchw = self._read([self.heldout_clips[i]])
            distances = _distances(self.model(latents_bcnhw), pixels_bnchw)
            l1, temporal_l1, psnr = (value.item() for value in distances)
            loss = l1 + self.settings.temporal_weight * temporal_l1
            figures.append({"loss": loss, "l1": l1, "temporal_l1": temporal_l1, "psnr_db": psnr})
        return figures

    def _read(self, clips: Sequence[ClipRow]) -> tuple[torch.Tensor, torch.Tensor]:
        """Latents b c n h w and pixels (b, n, 3, h, w) in [-1, 1] of clips."""
        rows = [clip.row for clip in clips]
        latents_bcnhw = torch.tensor(self.dataset.latents(rows)).transpose(1, 2).float()
        videos = self.dataset.videos(rows)
        frames_bnhwc = np.stack([decode_bytes(video)[0] for video in videos if video is not None])
        pixels_bnchw = torch.from_numpy(frames_bnhwc).permute(0, 1, 4, 2, 3).float() / 127.5 - 1
        return latents_bcnhw.to(self.device), pixels_bnchw.to(self.device)


def _distances(
    decoded_bnchw: torch.Tensor, pixels_bnchw: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """L1, L1 of the frame-to-frame changes, and PSNR in dB of each clip, (b,)."""
    decoded_bnchw = decoded_bnchw.float()
    changes = decoded_bnchw.diff(dim=1) - pixels_bnchw.diff(dim=1)
    errors = decoded_bnchw - pixels_bnchw
    mse_b = errors.detach().square().flatten(1).mean(1).clamp_min(1e-10)
    psnr_b = 10 * torch.log10(4 / mse_b)  # the range of the pixels is 2
    return errors.abs().flatten(1).mean(1), changes.abs().flatten(1).mean(1), psnr_b
