"""The sampling loop: clips one after another, or some at once, each reusing what it needs of the one before.

What a clip takes from the one before it is known before either is done: its noise follows from seeds alone, and before
a step the latents that go into the very same step of the clip before. So the clips of a window take each step together,
as one batch, and are what they would be one after another.

Latents stay in float32 whatever the UNet computes in: 50 steps of rounding to bfloat16 would show.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from vidrd_model.deep_features import DeepFeatures
from vidrd_model.guidance import Predictor, TextGuidance
from vidrd_model.reuse import (
    closing_guidance,
    guided_frames,
    guided_steps,
    last_frames,
    next_noise,
    reverse_frames,
    shared_noise,
    staged_guidance,
)
from vidrd_model.sampling_options import SamplingOptions
from vidrd_model.stepper import Stepper

OnStepStart = Callable[[int, torch.Tensor], None]
HandOn = Callable[[int, torch.Tensor], None]
OnStepEnd = Callable[[int, torch.Tensor, torch.Tensor], torch.Tensor | None]


class PastFrames(Protocol):
    """The frames that guide the next clip, by the step that they go into: a dict, or what somebody else sends."""

    def get(self, step: int) -> torch.Tensor | None:
        """Those before `step`, b c m h w on the sampler's device; None where nothing is guided."""


class Cancelled(Exception):
    """Raised from a step's callback to leave a window of clips between two steps."""


@dataclass(frozen=True, eq=False)
class ClipToSample:
    """What one clip of a batch of videos is sampled from, and who hears of its steps.

    fresh_noise_bcnhw has unit variance; generators, one per video on the CPU, are for schedulers that add noise. With a
    `strength` in the options the clip is an edited one, of clean_bcnhw, the latents of a given clip.
    on_step_start(step, latents) gets what goes into a step, on_step_end(step, timestep, latents) what comes out and may
    return other latents; both get tensors that nothing writes to later. `closes` is of a loop's last clip, which is
    sampled in a window of its own.
    """

    fresh_noise_bcnhw: torch.Tensor
    text_btd: torch.Tensor
    negative_btd: torch.Tensor | None = None
    generators: Sequence[torch.Generator] | None = None
    on_step_start: OnStepStart | None = None
    on_step_end: OnStepEnd | None = None
    closes: bool = False
    clean_bcnhw: torch.Tensor | None = None


class ClipSampler:
    """Samples the clips of a batch of videos in their order, one or a window of them at a time.

    Of the clip before it keeps the first noise and, for the steps that DSG guides, the guided frames: at the published
    settings 8 + 46 frame-latents, since the first step's are the noise itself. In a `loop` it keeps as many frames of
    the first clip until the last one, which ends with them. Clips of a given video run on instead of turning back: the
    M frames that a clip shares with the one before are the same in every step.
    """

    def __init__(
        self,
        unet: Any,
        scheduler: Any,
        options: SamplingOptions,
        device: torch.device | None = None,
        loop: bool = False,
    ):
        self.unet, self.scheduler, self.options = unet, scheduler, options
        self.device, self.loop = device or unet.device, loop
        self._predict: Predictor | None = None
        self._guidance: list[TextGuidance] = []
        self._noise_bcnhw: torch.Tensor | None = None
        self._past: PastFrames = {}
        self._beginning: dict[int, torch.Tensor] = {}

    def next_clip(self, clip: ClipToSample) -> torch.Tensor:
        """Denoises the next clip and returns its latents b c n h w in float32, as `next_window` does."""
        return self.next_window([clip])[0]

    @torch.no_grad()
    def next_window(self, clips: Sequence[ClipToSample], hand_on: HandOn | None = None) -> list[torch.Tensor]:
        """Denoises the next clips, all at once, and returns the latents b c n h w of each in float32.

        hand_on(step, frames) hears before each guided step what the clip after the window begins with, where somebody
        else samples it. Callbacks come step by step, within a step clip by clip in their order. Raises ModelError for
        settings that do not fit and for latents that are not finite, and passes on what the callbacks raise; the
        sampler then stays at the clip before the window.
        """
        videos, _, num_frames = clips[0].fresh_noise_bcnhw.shape[:3]
        self.options.check(num_frames, self.loop)
        closes, begins = clips[-1].closes, self.loop and self._noise_bcnhw is None
        stepper = Stepper(self.scheduler, self.options, num_frames, self.device, closes)
        if len(clips) > 1:
            stepper.check_draws_for_each_clip()
        noises = self._first_noises([clip.fresh_noise_bcnhw for clip in clips], stepper.steps_per_frame)
        generators = [one for clip in clips for one in clip.generators or ()] or None
        scale = self.options.guidance_scale
        self._guidance = [TextGuidance(clip.text_btd, clip.negative_btd, scale) for clip in clips]
        latents_bcnhw = stepper.begin(torch.cat(noises), self._given(clips))
        kept: dict[int, torch.Tensor] = {}
        beginning: dict[int, torch.Tensor] = {}
        deep = DeepFeatures() if self.options.cache_interval > 1 else None
        for step, timestep in enumerate(stepper.timesteps):
            guided = guided_frames(stepper.steps_per_frame, step)
            parts, last_bcmhw = self._staged(latents_bcnhw.split(videos), step, guided)
            if last_bcmhw is not None:
                kept[step] = last_bcmhw.clone()
                if hand_on is not None:
                    hand_on(step, kept[step])
            if closes and step in self._beginning:
                parts = [*parts[:-1], closing_guidance(parts[-1], self._beginning[step])]
            if begins and guided:
                beginning[step] = parts[0][:, :, : min(guided, stepper.closing_frames)].clone()
            for clip, part in zip(clips, parts, strict=True):
                if clip.on_step_start is not None:
                    clip.on_step_start(step, part)
            latents_bcnhw = parts[0] if len(parts) == 1 else torch.cat(parts)
            model_input_bcnhw = stepper.scale_model_input(latents_bcnhw, timestep)
            guides = self.options.guides(step, len(stepper.timesteps))
            if deep is not None and step % self.options.cache_interval == 0:
                deep.drop()
            target = self._predictor()(model_input_bcnhw, timestep, guides, deep)
            latents_bcnhw = stepper.step(target, timestep, latents_bcnhw, generators)
            latents_bcnhw = _after_step(clips, step, timestep, latents_bcnhw)
        stepper.check_finite(self.unet.dtype)
        self._noise_bcnhw, self._past = noises[-1], kept
        if begins:
            self._beginning = beginning
        return list(latents_bcnhw.split(videos))

    def follow(self, latents_by_step: Sequence[torch.Tensor]) -> None:
        """Takes a clip that was not sampled here for the clip before: the latents b c n h w that go into each step."""
        steps_per_frame = guided_steps(self.options.prompt_frames, len(latents_by_step), self.options.beta)
        self._noise_bcnhw = latents_by_step[0].to(self.device, torch.float32)
        self._past = {
            step: reverse_frames(latents_bcnhw)[:, :, :guided].to(self.device, torch.float32)
            for step, latents_bcnhw in enumerate(latents_by_step)
            if (guided := guided_frames(steps_per_frame, step))
        }

    def pass_over(self, fresh_noises: Sequence[torch.Tensor], past: PastFrames) -> None:
        """Goes past clips that somebody else samples: their noise b c n h w, and what the last of them hands on."""
        stepper = Stepper(self.scheduler, self.options, fresh_noises[0].shape[2], self.device)
        self._noise_bcnhw = self._first_noises(fresh_noises, stepper.steps_per_frame)[-1]
        self._past = past

    def recondition(self, place: int, guidance: TextGuidance) -> None:
        """Gives the rest of a clip that is being sampled other texts or another scale; `place` is its in the window."""
        self._guidance[place] = guidance

    def _staged(
        self, parts: Sequence[torch.Tensor], step: int, guided: int
    ) -> tuple[list[torch.Tensor], torch.Tensor | None]:
        """The clips' latents after DSG, clip by clip, and the frames that guide the next clip before this step.

        At step 0 there are none: they are the noise, which is kept anyway.
        """
        staged, past_bcmhw = [], self._past.get(step) if guided else None
        for part_bcnhw in parts:
            if past_bcmhw is not None:
                part_bcnhw = staged_guidance(part_bcnhw, past_bcmhw)
            past_bcmhw = self._shown_to_next(part_bcnhw, guided) if step and guided else None
            staged.append(part_bcnhw)
        return staged, past_bcmhw

    def _shown_to_next(self, latents_bcnhw: torch.Tensor, guided: int) -> torch.Tensor:
        """Which frames of a clip the next one begins with."""
        if self.options.strength is not None:
            return last_frames(latents_bcnhw, guided)
        return reverse_frames(latents_bcnhw)[:, :, :guided]

    def _given(self, clips: Sequence[ClipToSample]) -> torch.Tensor | None:
        """The clean latents of the clips that are edited; None where they are not."""
        given = [clip.clean_bcnhw for clip in clips if clip.clean_bcnhw is not None]
        return torch.cat(given).to(self.device, torch.float32) if given else None

    def _predictor(self) -> Predictor:
        """The last one when the texts are the very same: its projections serve all clips."""
        if self._predict is None or not self._predict.of_same(self._guidance):
            rescale = self.options.guidance_rescale
            self._predict = Predictor(self.unet, self._guidance, rescale, self.device)
        return self._predict

    def _first_noises(
        self, fresh_noises: Sequence[torch.Tensor], steps_per_frame: list[int]
    ) -> list[torch.Tensor]:
        """The noise of each clip, which reuses that of the one before."""
        noises: list[torch.Tensor] = []
        past_bcnhw = self._noise_bcnhw
        for fresh_bcnhw in fresh_noises:
            fresh_bcnhw = fresh_bcnhw.to(self.device, torch.float32)
            reused = self.options.prompt_frames
            if reused == fresh_bcnhw.shape[2] and self.options.full_prompt_noise == "mixed":
                reused = guided_frames(steps_per_frame, 0)
            if past_bcnhw is not None:
                reuse = next_noise if self.options.strength is None else shared_noise
                fresh_bcnhw = reuse(past_bcnhw, fresh_bcnhw, reused, self.options.alpha)
            noises.append(fresh_bcnhw)
            past_bcnhw = fresh_bcnhw
        return noises


def _after_step(
    clips: Sequence[ClipToSample], step: int, timestep: torch.Tensor, latents_bcnhw: torch.Tensor
) -> torch.Tensor:
    """The latents that the next step starts from: those of the step, but where a callback returned others."""
    if all(clip.on_step_end is None for clip in clips):
        return latents_bcnhw
    parts = list(latents_bcnhw.chunk(len(clips)))
    is_replaced = False
    for place, clip in enumerate(clips):
        replaced = None if clip.on_step_end is None else clip.on_step_end(step, timestep, parts[place])
        if replaced is not None:
            parts[place], is_replaced = replaced, True
    return torch.cat(parts) if is_replaced else latents_bcnhw
