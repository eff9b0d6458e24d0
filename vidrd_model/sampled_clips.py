"""What a call samples: the latents of its clips, window by window, of its texts and noise, between its callbacks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from vidrd_model.call_arguments import CallArguments
from vidrd_model.call_settings import CallSettings
from vidrd_model.callbacks import StepCallback
from vidrd_model.conditioning import text_conditions
from vidrd_model.editing import EditedVideo
from vidrd_model.errors import ModelError
from vidrd_model.frame_times import FrameTimes
from vidrd_model.noise import ClipNoises
from vidrd_model.sampling import Cancelled, ClipSampler, ClipToSample, HandOn
from vidrd_model.stepper import Stepper
from vidrd_model.video_share import VideoShare
from vidrd_model.windows import default_clips_at_once, window_sizes, windows_of

if TYPE_CHECKING:
    from vidrd_model.pipeline import VidRDPipeline


class SampledClips:
    """The clips of a call, latents b c n h w in float32, sampled when they are asked for, `clips_at_once` at a time.

    Making one checks the arguments and tells the pipeline what its properties are to say of the call. It ends early
    where `pipe.interrupt` is set. Of a `share` they are those of one of
    several workers, who sample `clips_at_once` clips each of every window. Raises ModelError for what does not fit, and
    for latents that are not finite.
    """

    def __init__(
        self,
        pipe: VidRDPipeline,
        asked: CallArguments,
        settings: CallSettings,
        share: VideoShare | None = None,
    ):
        batch = replace(asked.batch(), times=_times(pipe, asked, settings))
        shape_cnhw = pipe.latent_shape(settings.num_frames, settings.height, settings.width)
        pipe._num_videos = len(batch)
        self._pipe, self._lora_scale = pipe, asked.lora_scale()
        self._loop = asked.loop
        self._noises = ClipNoises(
            batch,
            shape_cnhw,
            settings.noise_alpha,
            pipe.config.noise_deviation,
            first_bcnhw=asked.latents,
            clips_before=0 if asked.after is None else 1,
        )
        self._sampler = self._begin(asked, settings)
        self._edited = EditedVideo.of(pipe, asked, settings, len(batch))
        self._num_clips = asked.num_clips if self._edited is None else self._edited.num_clips
        at_once = asked.clips_at_once
        if at_once is None:
            at_once = default_clips_at_once(pipe._execution_device, len(batch), shape_cnhw)
        self._share = share
        self._window_sizes = window_sizes(
            at_once * (1 if share is None else share.workers), asked.first_window
        )
        if asked.after is not None:
            asked.after.check_fits((len(batch), *shape_cnhw), pipe.num_timesteps)
            self._sampler.follow(asked.after.latents_by_step)
        self._callback = StepCallback(
            pipe, asked.callback_on_step_end, asked.callback_on_step_end_tensor_inputs
        )
        self._texts = text_conditions(
            pipe, asked, batch, settings.negative_prompt, pipe.do_classifier_free_guidance
        )

    @property
    def num_shown(self) -> int | None:
        """How many frames of the video are shown; None for all."""
        return None if self._edited is None else self._edited.num_shown

    def __iter__(self) -> Iterator[torch.Tensor]:
        for window in self.windows():
            yield from window

    def windows(self) -> Iterator[list[torch.Tensor]]:
        """The clips window by window; of a share those of its own, perhaps none."""
        for clips in windows_of(self._num_clips, self._window_sizes, self._loop):
            try:
                yield self._sampled(clips) if self._share is None else self._shared(clips, self._share)
            except Cancelled:
                return

    def _begin(self, asked: CallArguments, settings: CallSettings) -> ClipSampler:
        """Makes the sampler, which knows no clip yet; `Stepper` finds what the scheduler cannot do."""
        pipe, device = self._pipe, self._pipe._execution_device
        options = settings.options(
            pipe.config.full_prompt_noise,
            timesteps=asked.timesteps,
            sigmas=asked.sigmas,
            strength=asked.edit_strength,
        )
        options.check(settings.num_frames, asked.loop)
        started = Stepper(pipe.scheduler, options, settings.num_frames, device)
        pipe._interrupt, pipe._num_timesteps = False, len(started.timesteps)
        pipe._guidance_scale = options.guidance_scale
        pipe._clip_skip, pipe._attention_kwargs = asked.clip_skip, asked.attention_kwargs
        return ClipSampler(pipe.unet, pipe.scheduler, options, device, asked.loop)

    def _shared(self, clips: Sequence[int], share: VideoShare) -> list[torch.Tensor]:
        """This worker's clips of a window, after which it knows the noise of the others'."""
        own = share.run_of(clips)
        if not own:
            self._pass_over(clips, share)
            return []
        self._pass_over([clip for clip in clips if clip < own[0]], share)
        following = own[-1] + 1
        # What follows a window is the first worker's.
        is_followed = following in clips or (share.worker > 0 and following < self._num_clips)
        sampled = self._sampled(own, partial(share.hand_on, following) if is_followed else None)
        self._pass_over([clip for clip in clips if clip > own[-1]], share)
        return sampled

    def _pass_over(self, clips: Sequence[int], share: VideoShare) -> None:
        if clips:
            noises = [self._noises.of_clip(clip) for clip in clips]
            self._sampler.pass_over(noises, share.past_of(clips[-1] + 1, self._sampler.device))

    def _sampled(self, clips: Sequence[int], hand_on: HandOn | None = None) -> list[torch.Tensor]:
        pipe, sampler = self._pipe, self._sampler
        pipe._guidance_scale = sampler.options.guidance_scale  # whatever a callback made of it
        total = pipe.num_timesteps * len(clips)
        with pipe.progress_bar(total=total) as bar:
            window = [self._to_sample(clip, place, bar) for place, clip in enumerate(clips)]
            try:
                # Not around the texts, which are encoded scaled already.
                with pipe.scaled_lora(self._lora_scale):
                    return sampler.next_window(window, hand_on)
            except torch.OutOfMemoryError as error:
                if len(clips) == 1:
                    raise
                raise ModelError(
                    f"the GPU's memory does not hold {len(clips)} clips at once: set clips_at_once to "
                    f"{len(clips) // 2} or less"
                ) from error

    def _to_sample(self, clip: int, place: int, bar: Any) -> ClipToSample:
        text_btd, negative_btd = self._texts.of_clip(clip), self._texts.negative_btd
        return ClipToSample(
            self._noises.of_clip(clip),
            text_btd,
            negative_btd,
            self._noises.generators(clip),
            on_step_end=self._callback.of_clip(clip, place, self._sampler, text_btd, negative_btd, bar),
            closes=self._loop and clip == self._num_clips - 1,
            clean_bcnhw=None if self._edited is None else self._edited.of_clip(clip),
        )


def _times(pipe: VidRDPipeline, asked: CallArguments, settings: CallSettings) -> FrameTimes:
    """Where the clips' frames lie among those that `ShownClips` shows of them."""
    seam, follows = asked.shown_seam(pipe.config.seam), asked.after is not None
    return FrameTimes.of(settings.num_frames, seam, settings.prompt_frames, asked.loop, follows)
