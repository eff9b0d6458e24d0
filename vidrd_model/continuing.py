"""Going on from frames that no sampling made: a clip of a real video, inverted, takes the place of the clip before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from vidrd_model.conditioning import TextConditions
from vidrd_model.errors import ModelError
from vidrd_model.finite import check_frames
from vidrd_model.given_frames import last_clip, read_videos
from vidrd_model.guidance import Predictor, TextGuidance
from vidrd_model.inversion import check_invertible, invert
from vidrd_model.noise import keyed_generator
from vidrd_model.sampling import ClipSampler, ClipToSample
from vidrd_model.sampling_options import SamplingOptions
from vidrd_model.temporal_layers import unfold_frames
from vidrd_model.video_batch import VideoBatch

if TYPE_CHECKING:
    from vidrd_model.call_arguments import ClipArguments
    from vidrd_model.pipeline import VidRDPipeline


@dataclass(frozen=True)
class Inversion:
    """A clip that was given, as if it had been sampled, and how well it comes back.

    `frames_bnhwc` are float32 in 0..1, of the model's size; `latents_by_step` b c n h w go into each step, so that the
    first are the noise. Of each video, `round_trips` has the mean absolute difference, in grey levels of 255, of the
    clip sampled from that noise to what the VAE makes of the frames; `noise_means` and `noise_deviations` have those of
    the noise, 0 and 1 where it is like any other.
    """

    frames_bnhwc: torch.Tensor
    latents_by_step: list[torch.Tensor]
    round_trips: list[float]
    noise_means: list[float]
    noise_deviations: list[float]

    def check_fits(self, shape_bcnhw: tuple[int, ...], num_steps: int) -> None:
        """ModelError unless clips of this shape and so many steps can go on from it."""
        found = tuple(self.latents_by_step[0].shape)
        if found != shape_bcnhw or len(self.latents_by_step) != num_steps:
            raise ModelError(
                f"after: inverted as latents {found} in {len(self.latents_by_step)} steps; this call has "
                f"{shape_bcnhw} in {num_steps}"
            )


@torch.no_grad()
def inverted_clip(pipe: VidRDPipeline, frames: Any, asked: ClipArguments) -> Inversion:
    """Encodes the last frames, once for each video that is asked for, and inverts them with its first text.

    frames are what `read_videos` takes. Raises ModelError for frames and settings that do not fit, and for a scheduler
    whose steps cannot be undone.
    """
    check_invertible(pipe.scheduler)
    settings, batch = asked.settings(pipe.config.sampling), asked.batch()
    _, n, h, w = pipe.latent_shape(settings.num_frames, settings.height, settings.width)
    frames_bnhwc = _given_clips(frames, batch, (n, h * pipe.vae_scale_factor, w * pipe.vae_scale_factor))
    text_btd = TextConditions(pipe, asked, batch).of_clip(0)
    options = SamplingOptions(
        settings.num_inference_steps, guidance_scale=1.0, prompt_frames=0, timesteps=asked.timesteps
    )
    options.check(n)
    device = pipe._execution_device
    steps = settings.num_inference_steps if asked.timesteps is None else len(asked.timesteps)
    with pipe.scaled_lora(asked.lora_scale()):
        latents_bcnhw = encoded(pipe, frames_bnhwc.to(device))
        predict = Predictor(pipe.unet, [TextGuidance(text_btd)], device=device)
        with pipe.progress_bar(total=steps) as bar:
            latents_by_step = invert(predict, pipe.scheduler, options, latents_bcnhw, bar.update)
        sampler = ClipSampler(pipe.unet, pipe.scheduler, options, device)
        again_bcnhw = sampler.next_clip(ClipToSample(latents_by_step[0], text_btd))
    differences = pipe.decode_latents(again_bcnhw) - pipe.decode_latents(latents_bcnhw)
    noise_bd = latents_by_step[0].flatten(1)
    return Inversion(
        frames_bnhwc,
        latents_by_step,
        round_trips=(255 * differences.abs().flatten(1).mean(dim=1)).tolist(),
        noise_means=noise_bd.mean(dim=1).tolist(),
        noise_deviations=noise_bd.std(dim=1).tolist(),
    )


def _given_clips(frames: Any, batch: VideoBatch, size_nhw: tuple[int, int, int]) -> torch.Tensor:
    """The last frames of what is given for each video, (b, n, h, w, 3) in 0..1; a picture moves as its seed says."""
    keys = zip(batch.seeds, batch.noise_keys(0), strict=True)
    seeds = [keyed_generator(seed, key, "motion").initial_seed() for seed, key in keys]
    videos = zip(read_videos(frames, len(batch)), seeds, strict=True)
    return torch.stack([last_clip(given, *size_nhw, seed) for given, seed in videos])


def encoded(pipe: VidRDPipeline, frames_bnhwc: torch.Tensor) -> torch.Tensor:
    """Scaled latents b c n h w, float32, of frames in 0..1: the posterior's mean, as a dataset holds it."""
    if pipe.vae is None:
        raise ModelError("frames need a VAE, which this pipeline does not have")
    folded = frames_bnhwc.permute(0, 1, 4, 2, 3).flatten(0, 1) * 2 - 1
    latents = pipe.vae.encode(folded.to(pipe.vae.dtype)).latent_dist.mode()
    check_frames(latents, pipe.vae.dtype)
    return unfold_frames(latents.float() * pipe.vae.config.scaling_factor, len(frames_bnhwc))
