"""The UNet as a trainee: what feeds it, and its loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler
from torch import nn

from storage.dataset import ClipDataset
from tasks.training.base_model import load_base
from tasks.training.data import ClipRow, EpochClip, pick_heldout, seeded_generator, split_clips
from tasks.training.engine import Figures
from tasks.training.settings import TemporalSettings


class TemporalTrainee:
    """The UNet, what feeds it, and its loss (epsilon or v, as the model's scheduler says)."""

    def __init__(self, dataset_ref: str, model_dir: str, settings: TemporalSettings) -> None:
        self.settings = settings
        self.dataset = ClipDataset.open(dataset_ref)
        split = split_clips(self.dataset)
        self.train_clips = split.train
        self.heldout_clips = pick_heldout(split.heldout, settings.heldout_samples)
        self.heldout_size = len(self.heldout_clips)
        self.pipe = load_base(model_dir)
        self.pipe.vae = None
        self.scheduler = DDPMScheduler.from_config(self.pipe.scheduler.config)
        self.model = self.pipe.unet
        self.model.set_trainable(settings.trainable)
        if settings.gradient_checkpointing:
            self.model.enable_gradient_checkpointing()
        self.device = torch.device("cpu")

    def to(self, device: torch.device) -> None:
        """Move the UNet and the text encoder."""
        self.pipe.to(device)
        self.device = device

    def loss(self, model: nn.Module, batch: Sequence[EpochClip]) -> torch.Tensor:
        """Mean squared error over a batch; step, noise and caption dropout belong to (seed, epoch, clip)."""
        seed, steps = self.settings.seed, self.scheduler.config.num_train_timesteps
        captions, timesteps, noise = [], [], []
        for item in batch:
            generator = seeded_generator(seed, item.epoch, item.clip.clip_id)
            timesteps.append(torch.randint(steps, (), generator=generator))
            dropped = torch.rand((), generator=generator) < self.settings.caption_dropout
            captions.append("" if dropped else item.clip.caption)
            noise.append(self._noise(generator))
        clips = [item.clip for item in batch]
        return self._errors(model, clips, captions, torch.stack(timesteps), torch.stack(noise)).mean()

    def heldout_figures(self, samples: Sequence[int]) -> list[Figures]:
        """The loss of each sample; sample i always has the same clip, step and noise."""
        figures: list[Figures] = []
        for start in range(0, len(samples), self.settings.batch_size):
            part = samples[start : start + self.settings.batch_size]
            clips = [self.heldout_clips[i] for i in part]
            noise = torch.stack([self._noise(seeded_generator("held-out", i)) for i in part])
            timesteps = torch.tensor([self._heldout_step(i) for i in part])
            errors = self._errors(self.model, clips, [clip.caption for clip in clips], timesteps, noise)
            figures += [{"loss": error} for error in errors.tolist()]
        return figures

    def reset_temporal_layers(self) -> None:
        """Make the UNet the image model that it was."""
        self.model.reset_temporal_layers(0)

    def _errors(
        self,
        model: nn.Module,
        clips: Sequence[ClipRow],
        captions: Sequence[str],
        timesteps_b: torch.Tensor,
        noise_bcnhw: torch.Tensor,
    ) -> torch.Tensor:
        """The mean squared error of each clip, (b,)."""
        latents_bnchw = torch.tensor(self.dataset.latents([clip.row for clip in clips]))
        latents_bcnhw = latents_bnchw.transpose(1, 2).float().to(self.device)
        noise_bcnhw, timesteps_b = noise_bcnhw.to(self.device), timesteps_b.to(self.device)
        text_btd = self.pipe.encode_prompt(captions)
        noisy_bcnhw = self.scheduler.add_noise(latents_bcnhw, noise_bcnhw, timesteps_b)
        if self.scheduler.config.prediction_type == "v_prediction":
            target_bcnhw = self.scheduler.get_velocity(latents_bcnhw, noise_bcnhw, timesteps_b)
        else:
            target_bcnhw = noise_bcnhw
        predicted_bcnhw = model(noisy_bcnhw, timesteps_b, text_btd).sample
        return F.mse_loss(predicted_bcnhw.float(), target_bcnhw, reduction="none").mean(dim=(1, 2, 3, 4))

    def _noise(self, generator: torch.Generator) -> torch.Tensor:
        n, c, h, w = self.dataset.latent_shape
        return torch.randn((c, n, h, w), generator=generator)

    def _heldout_step(self, sample: int) -> int:
        """Steps spread evenly over the schedule, in an order that has nothing to do with the clips'."""
        steps = self.scheduler.config.num_train_timesteps
        order = torch.randperm(self.heldout_size, generator=seeded_generator("held-out steps"))
        return int((order[sample].item() + 0.5) / self.heldout_size * steps)
