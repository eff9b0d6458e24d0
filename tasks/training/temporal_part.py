"""The UNet as a part that is trained: its loss, its held-out samples and its sample videos."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import torch
from diffusers import DDPMScheduler
from torch import nn

from storage.dataset.clip_dataset import ClipDataset
from tasks.clips.video_io import encode
from tasks.errors import RequestError
from tasks.generation.settings import SamplingSettings
from tasks.model_files import text_encoder_digest
from tasks.training.base_model import load_base
from tasks.training.batches import TemporalBatch, TemporalReader
from tasks.training.devices import computing_in, place
from tasks.training.engine import TrainingPart
from tasks.training.objective import clip_losses, compose_noise, noisy_and_target, snr_weight
from tasks.training.progress import Figures
from tasks.training.sampler import seeded_generator
from tasks.training.settings import TemporalSettings
from tasks.training.splits import ClipRow, pick_heldout, split_clips
from tasks.training.trained_layers import set_trained
from vidrd_model.blocks import BLOCKS
from vidrd_model.errors import ModelError

SAMPLE_PROMPTS = 2
_SAMPLE_SEED = 7


class TemporalPart(TrainingPart):
    """The UNet, what feeds it, and its loss (epsilon or v, as the model's scheduler says).

    `sampling` says how sample videos are made, `left_out` which rows count as not there. Raises RequestError when the
    dataset lacks what the settings ask for.
    """

    blocks = BLOCKS

    def __init__(
        self,
        dataset_ref: str,
        model_dir: str,
        settings: TemporalSettings,
        sampling: SamplingSettings,
        left_out: Sequence[int] = (),
    ) -> None:
        self.settings, self.sampling = settings, sampling
        dataset = ClipDataset.open(dataset_ref)
        if settings.text_states == "stored" and dataset.text_encoder != text_encoder_digest(model_dir):
            raise RequestError(
                f"text_states: {dataset_ref} holds no states of this model's text encoder; build it with text_states, "
                "or set text_states to encode"
            )
        split = split_clips(dataset, left_out=left_out)
        self.train_clips = split.train
        self._heldout_clips = pick_heldout(split.heldout, settings.heldout_samples)
        self.heldout_size = len(self._heldout_clips)
        self._sample_prompts = settings.sample_prompts or [
            clip.caption for clip in pick_heldout(split.heldout, min(SAMPLE_PROMPTS, len(split.heldout)))
        ]
        self._dataset = dataset
        self.pipe = load_base(model_dir)
        if settings.sample_every is None:
            self.pipe.vae = None
        self.scheduler = DDPMScheduler.from_config(self.pipe.scheduler.config)
        self.reader = TemporalReader(dataset_ref, settings, self.scheduler.config.num_train_timesteps)
        self.model = self.unet = self.pipe.unet
        set_trained(self.unet, settings)
        if settings.gradient_checkpointing:
            self.unet.enable_gradient_checkpointing()
        self.device = torch.device("cpu")

    def modules(self) -> list[nn.Module]:
        """Returns the UNet, the text encoder and, for sample videos, the VAE."""
        return [m for m in (self.unet, self.pipe.text_encoder, self.pipe.vae) if m is not None]

    def prepare(self, device: torch.device) -> None:
        """Moves the UNet and the text encoder, frozen weights in the settings' precision."""
        self.device = device
        self.scheduler.alphas_cumprod = self.scheduler.alphas_cumprod.to(device)
        self.pipe.text_encoder.requires_grad_(False)
        for model in self.modules():
            place(model, device, self.settings.precision)
        self.pipe.set_progress_bar_config(disable=True)
        with torch.no_grad():
            self._no_text_1td = self.pipe.encode_prompt([""])

    def losses(self, model: nn.Module, batch: TemporalBatch, step: int) -> torch.Tensor:
        """Returns the mean squared error of each clip, weighted by the settings' min-SNR, (b,)."""
        settings, scheduler = self.settings, self.scheduler
        noise_bcnhw = compose_noise(
            batch.noise_bcnhw, batch.offset_bc, settings.noise_alpha, settings.offset_noise
        )
        text_btd = self._encode(batch.captions) if batch.text_btd is None else self._stored(batch)
        weight_b = snr_weight(
            batch.timesteps_b, scheduler.alphas_cumprod, scheduler.config.prediction_type, settings.snr_gamma
        )
        return self._losses(model, batch.latents_bcnhw, noise_bcnhw, batch.timesteps_b, text_btd, weight_b)

    def heldout_figures(self, samples: Sequence[int]) -> list[Figures]:
        """Returns the unweighted loss of each sample; sample i always has the same clip, step and noise."""
        figures: list[Figures] = []
        for start in range(0, len(samples), self.settings.batch_size):
            part = samples[start : start + self.settings.batch_size]
            clips = [self._heldout_clips[i] for i in part]
            latents_bcnhw = self._heldout_latents(clips)
            noise = [
                torch.randn(latents_bcnhw.shape[1:], generator=seeded_generator("held-out", i)) for i in part
            ]
            timesteps_b = torch.tensor([self._heldout_step(i) for i in part])
            text_btd = self._encode([clip.caption for clip in clips])
            losses_b = self._losses(
                self.model,
                latents_bcnhw.to(self.device),
                torch.stack(noise).to(self.device),
                timesteps_b.to(self.device),
                text_btd,
                torch.ones(len(clips), device=self.device),
            )
            figures += [{"loss": loss} for loss in losses_b.tolist()]
        return figures

    def sample_videos(self) -> dict[str, bytes]:
        """Samples a clip for each of the prompts, always from the same noise; notes the prompts that gave none."""
        videos = {}
        arguments = self.sampling.pipeline_arguments() | {"seed": _SAMPLE_SEED, "output_type": "uint8"}
        for number, prompt in enumerate(self._sample_prompts):
            try:
                with computing_in(self.settings.precision, self.device):
                    frames = self.pipe(prompt, **arguments).frames
            except (
                ModelError
            ) as error:  # the weights have diverged; whether that ends the training, the losses say
                self.notes = [*self.notes, f"no sample video of {prompt!r}: {error}"]
                continue
            file = BytesIO()
            encode(file, frames[0], self.sampling.fps, options={"crf": "18"})
            videos[f"{number} {prompt}"] = file.getvalue()
        return videos

    def reset_temporal_layers(self) -> None:
        """Makes the UNet the image model that it was."""
        self.unet.reset_temporal_layers(0)

    def _losses(
        self,
        model: nn.Module,
        latents_bcnhw: torch.Tensor,
        noise_bcnhw: torch.Tensor,
        timesteps_b: torch.Tensor,
        text_btd: torch.Tensor,
        weight_b: torch.Tensor,
    ) -> torch.Tensor:
        """Returns the weighted mean squared error of each clip, (b,)."""
        scheduler = self.scheduler
        noisy_bcnhw, target_bcnhw = noisy_and_target(
            latents_bcnhw,
            noise_bcnhw,
            timesteps_b,
            scheduler.alphas_cumprod,
            scheduler.config.prediction_type,
        )
        with computing_in(self.settings.precision, self.device):
            predicted_bcnhw = model(noisy_bcnhw, timesteps_b, text_btd).sample
        return clip_losses(predicted_bcnhw, target_bcnhw, weight_b)

    @torch.no_grad()
    def _encode(self, captions: Sequence[str]) -> torch.Tensor:
        states: torch.Tensor = self.pipe.encode_prompt(captions)
        return states

    def _stored(self, batch: TemporalBatch) -> torch.Tensor:
        """Returns the stored states, with those of no text where the caption is dropped."""
        assert batch.text_btd is not None
        dropped_b = torch.tensor([not caption for caption in batch.captions], device=self.device)
        text_btd = batch.text_btd.to(self._no_text_1td.dtype)
        return torch.where(dropped_b[:, None, None], self._no_text_1td, text_btd)

    def _heldout_latents(self, clips: Sequence[ClipRow]) -> torch.Tensor:
        latents_bnchw = torch.tensor(self._dataset.clips.tensors([clip.row for clip in clips], "latents"))
        return latents_bnchw.transpose(1, 2).float()

    def _heldout_step(self, sample: int) -> int:
        """Returns a sample's step: spread evenly over the schedule, in an order independent of the clips'."""
        steps = self.scheduler.config.num_train_timesteps
        order = torch.randperm(self.heldout_size, generator=seeded_generator("held-out steps"))
        return int((order[sample].item() + 0.5) / self.heldout_size * steps)
