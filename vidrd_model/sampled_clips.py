"""What a call samples: the latents of one clip after another, of its texts and its noise, between its callbacks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from vidrd_model.call_arguments import CallArguments
from vidrd_model.call_settings import CallSettings
from vidrd_model.callbacks import StepCallback
from vidrd_model.conditioning import text_conditions
from vidrd_model.noise import ClipNoises
from vidrd_model.sampling import Cancelled, ClipSampler, Stepper

if TYPE_CHECKING:
    from vidrd_model.pipeline import VidRDPipeline


class SampledClips:
    """The clips of a call, latents b c n h w in float32, each sampled when it is asked for.

    Making one checks the arguments, tells the pipeline what its properties are to say of the call, and encodes what the
    videos should not show. It ends early where `pipe.interrupt` is set. Raises ModelError for what does not fit, and
    for latents that are not finite.
    """

    def __init__(self, pipe: VidRDPipeline, asked: CallArguments, settings: CallSettings):
        batch = asked.batch()
        shape_cnhw = pipe.latent_shape(settings.num_frames, settings.height, settings.width)
        pipe._num_videos = len(batch)
        self._pipe, self._num_clips, self._lora_scale = pipe, asked.num_clips, asked.lora_scale()
        self._noises = ClipNoises(
            batch,
            shape_cnhw,
            settings.noise_alpha,
            pipe.config.noise_deviation,
            first_bcnhw=asked.latents,
            clips_before=0 if asked.after is None else 1,
        )
        self._sampler = self._begin(asked, settings)
        if asked.after is not None:
            asked.after.check_fits((len(batch), *shape_cnhw), pipe.num_timesteps)
            self._sampler.follow(asked.after.latents_by_step)
        self._callback = StepCallback(
            pipe, asked.callback_on_step_end, asked.callback_on_step_end_tensor_inputs
        )
        self._texts = text_conditions(
            pipe, asked, batch, settings.negative_prompt, pipe.do_classifier_free_guidance
        )

    def __iter__(self) -> Iterator[torch.Tensor]:
        for clip in range(self._num_clips):
            try:
                latents_bcnhw = self._sampled(clip)
            except Cancelled:
                return
            yield latents_bcnhw

    def _begin(self, asked: CallArguments, settings: CallSettings) -> ClipSampler:
        """Makes the sampler, which knows no clip yet; `Stepper` finds what the scheduler cannot do."""
        pipe, device = self._pipe, self._pipe._execution_device
        options = settings.options(
            pipe.config.full_prompt_noise, timesteps=asked.timesteps, sigmas=asked.sigmas
        )
        options.check(settings.num_frames)
        started = Stepper(pipe.scheduler, options, settings.num_frames, device)
        pipe._interrupt, pipe._num_timesteps = False, len(started.timesteps)
        pipe._guidance_scale = options.guidance_scale
        pipe._clip_skip, pipe._attention_kwargs = asked.clip_skip, asked.attention_kwargs
        return ClipSampler(pipe.unet, pipe.scheduler, options, device)

    def _sampled(self, clip: int) -> torch.Tensor:
        pipe, sampler, texts = self._pipe, self._sampler, self._texts
        text_btd, negative_btd = texts.of_clip(clip), texts.negative_btd
        pipe._guidance_scale = sampler.options.guidance_scale  # whatever a callback made of it
        with pipe.progress_bar(total=pipe.num_timesteps) as bar, pipe.scaled_lora(self._lora_scale):
            return sampler.next_clip(
                self._noises.of_clip(clip),
                text_btd,
                negative_btd,
                self._noises.generators(clip),
                on_step_end=self._callback.of_clip(clip, sampler, text_btd, negative_btd, bar),
            )
