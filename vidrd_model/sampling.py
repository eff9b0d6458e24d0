"""The sampling loop: one clip after another, each reusing what it needs of the one before.

Latents stay in float32 whatever the UNet computes in: 50 steps of rounding to bfloat16 would show.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from vidrd_model.errors import ModelError
from vidrd_model.finite import FiniteSteps
from vidrd_model.guidance import Predictor
from vidrd_model.reuse import guided_frames, guided_steps, next_noise, reverse_frames, staged_guidance

OnStepStart = Callable[[int, torch.Tensor], None]
OnStepEnd = Callable[[int, torch.Tensor, torch.Tensor], torch.Tensor | None]


class Cancelled(Exception):
    """Raised from a step's callback to leave a clip between two steps."""


@dataclass(frozen=True)
class SamplingOptions:
    """How clips are sampled; prompt_frames M, alpha and beta are the paper's.

    eta is the share of fresh noise in each step, for schedulers that have it. `full_prompt_noise` is what noise M = N
    prompt frames start from: `reversed` (that of the last clip) or `mixed` (PNS for all, the release's quirk Q4).
    `timesteps` or `sigmas`, one for each step, take the place of the scheduler's own where it allows that.
    """

    num_inference_steps: int = 50
    guidance_scale: float = 7.5
    prompt_frames: int = 4
    alpha: float = 4.0
    beta: float = 0.4
    eta: float = 0.0
    full_prompt_noise: str = "reversed"
    guidance_rescale: float = 0.0
    timesteps: Sequence[float] | None = None
    sigmas: Sequence[float] | None = None

    def check(self, num_frames: int) -> None:
        """ModelError, naming the option, when clips of so many frames cannot be sampled like this."""
        if not 0 <= self.prompt_frames <= num_frames:
            raise ModelError(
                f"prompt_frames must lie in 0..{num_frames}, the clip's frames, not {self.prompt_frames}"
            )
        if not self.alpha >= 0:
            raise ModelError(f"alpha must be at least 0, not {self.alpha}")
        for name in ("beta", "eta", "guidance_rescale"):
            if not 0 <= getattr(self, name) <= 1:
                raise ModelError(f"{name} must lie in 0..1, not {getattr(self, name)}")
        if self.num_inference_steps < 1:
            raise ModelError(f"num_inference_steps must be at least 1, not {self.num_inference_steps}")
        if self.full_prompt_noise not in ("reversed", "mixed"):
            raise ModelError(f"full_prompt_noise must be reversed or mixed, not {self.full_prompt_noise!r}")
        if self.timesteps is not None and self.sigmas is not None:
            raise ModelError("give either timesteps or sigmas, not both")


class ClipSampler:
    """Samples the clips of a batch of videos in their order.

    Of the clip before it keeps the first noise and, for the steps that DSG guides, the guided frames: at the published
    settings 8 + 46 frame-latents, since the first step's are the noise itself.
    """

    def __init__(
        self, unet: Any, scheduler: Any, options: SamplingOptions, device: torch.device | None = None
    ):
        self.unet, self.scheduler, self.options = unet, scheduler, options
        self.device = device or unet.device
        self._predict: Predictor | None = None
        self._noise_bcnhw: torch.Tensor | None = None
        self._past: dict[int, torch.Tensor] = {}

    @torch.no_grad()
    def next_clip(
        self,
        fresh_noise_bcnhw: torch.Tensor,
        text_btd: torch.Tensor,
        negative_text_btd: torch.Tensor | None = None,
        generators: Sequence[torch.Generator] | None = None,
        on_step_start: OnStepStart | None = None,
        on_step_end: OnStepEnd | None = None,
    ) -> torch.Tensor:
        """Denoises the next clip and returns its latents b c n h w in float32.

        fresh_noise_bcnhw has unit variance; generators, one per video on the CPU, are for schedulers that add noise.
        on_step_start(step, latents) gets what goes into a step, on_step_end(step, timestep, latents) what comes out and
        may return other latents; both get tensors that nothing writes to later. Raises ModelError for settings that do
        not fit and for latents that are not finite, and passes on what the callbacks raise; the sampler then stays at
        the clip before.
        """
        self.options.check(fresh_noise_bcnhw.shape[2])
        stepper = Stepper(self.scheduler, self.options, fresh_noise_bcnhw.shape[2], self.device)
        noise_bcnhw = self._first_noise(fresh_noise_bcnhw, stepper.steps_per_frame)
        self._predict = self._predictor(text_btd, negative_text_btd)
        latents_bcnhw = noise_bcnhw * stepper.init_noise_sigma
        kept: dict[int, torch.Tensor] = {}
        for step, timestep in enumerate(stepper.timesteps):
            guided = guided_frames(stepper.steps_per_frame, step)
            if step in self._past:
                latents_bcnhw = staged_guidance(latents_bcnhw, self._past[step])
            if step and guided:  # at step 0 they are the noise, which is kept anyway
                kept[step] = reverse_frames(latents_bcnhw)[:, :, :guided].clone()
            if on_step_start is not None:
                on_step_start(step, latents_bcnhw)
            target = self._predict(stepper.scale_model_input(latents_bcnhw, timestep), timestep)
            latents_bcnhw = stepper.step(target, timestep, latents_bcnhw, generators)
            if on_step_end is not None:
                replaced = on_step_end(step, timestep, latents_bcnhw)
                latents_bcnhw = latents_bcnhw if replaced is None else replaced
        stepper.check_finite(self.unet.dtype)
        self._noise_bcnhw, self._past = noise_bcnhw, kept
        return latents_bcnhw

    def follow(self, latents_by_step: Sequence[torch.Tensor]) -> None:
        """Takes a clip that was not sampled here for the clip before: the latents b c n h w that go into each step."""
        steps_per_frame = guided_steps(self.options.prompt_frames, len(latents_by_step), self.options.beta)
        self._noise_bcnhw = latents_by_step[0].to(self.device, torch.float32)
        self._past = {
            step: reverse_frames(latents_bcnhw)[:, :, :guided].to(self.device, torch.float32)
            for step, latents_bcnhw in enumerate(latents_by_step)
            if (guided := guided_frames(steps_per_frame, step))
        }

    def recondition(
        self, text_btd: torch.Tensor, negative_text_btd: torch.Tensor | None, guidance_scale: float
    ) -> None:
        """Gives the rest of the clip that is being sampled other texts, or another guidance."""
        self._predict = self._predictor(text_btd, negative_text_btd, guidance_scale)

    def _predictor(
        self,
        text_btd: torch.Tensor,
        negative_text_btd: torch.Tensor | None,
        guidance_scale: float | None = None,
    ) -> Predictor:
        """The last one when the text is the very same: its projections serve all clips."""
        last, scale = self._predict, self.options.guidance_scale if guidance_scale is None else guidance_scale
        if (
            last is not None
            and last.text_btd is text_btd
            and last.negative_text_btd is negative_text_btd
            and last.guidance_scale == scale
        ):
            return last
        rescale = self.options.guidance_rescale
        return Predictor(self.unet, scale, text_btd, negative_text_btd, rescale, self.device)

    def _first_noise(self, fresh_bcnhw: torch.Tensor, steps_per_frame: list[int]) -> torch.Tensor:
        fresh_bcnhw = fresh_bcnhw.to(self.device, torch.float32)
        if self._noise_bcnhw is None:
            return fresh_bcnhw
        reused = self.options.prompt_frames
        if reused == fresh_bcnhw.shape[2] and self.options.full_prompt_noise == "mixed":
            reused = guided_frames(steps_per_frame, 0)
        return next_noise(self._noise_bcnhw, fresh_bcnhw, reused, self.options.alpha)


class Stepper:
    """A diffusers scheduler, started anew for each clip because most carry state (quirk Q6).

    `corrects` says whether it computes latents anew from the step before, as UniPC does.
    """

    def __init__(self, scheduler: Any, options: SamplingOptions, num_frames: int, device: torch.device):
        first = copy.deepcopy(scheduler)
        _set_timesteps(first, options, device)
        self.timesteps = first.timesteps
        self.init_noise_sigma = first.init_noise_sigma
        # Schedulers of second order have more timesteps than were asked for.
        self.steps_per_frame = guided_steps(options.prompt_frames, len(self.timesteps), options.beta)
        self._parts = [(slice(0, num_frames), first)]
        self.corrects = hasattr(first, "last_sample")
        if self.corrects and any(self.steps_per_frame):
            self._parts = _correct_free_frames_only(
                scheduler, options, self.steps_per_frame, num_frames, device
            )
        accepted = inspect.signature(first.step).parameters
        self._arguments = {"eta": options.eta} if "eta" in accepted else {}
        self._takes_generators = "generator" in accepted
        self._finite = FiniteSteps(device)

    def scale_model_input(self, latents_bcnhw: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        """What the UNet gets to see of the latents."""
        parts = [part.scale_model_input(latents_bcnhw[:, :, at], timestep) for at, part in self._parts]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)

    def add_noise(
        self, clean_bcnhw: torch.Tensor, noise_bcnhw: torch.Tensor, timestep: torch.Tensor
    ) -> torch.Tensor:
        """What clean latents are at a step, with that unit-variance noise."""
        steps_b = timestep.expand(clean_bcnhw.shape[0])
        return self._parts[0][1].add_noise(clean_bcnhw, noise_bcnhw, steps_b)

    def step(
        self,
        target_bcnhw: torch.Tensor,
        timestep: torch.Tensor,
        latents_bcnhw: torch.Tensor,
        generators: Sequence[torch.Generator] | None,
    ) -> torch.Tensor:
        """The latents after one step."""
        arguments: dict[str, Any] = dict(self._arguments)
        if self._takes_generators and generators is not None:
            arguments["generator"] = list(generators)
        parts = [
            part.step(target_bcnhw[:, :, at], timestep, latents_bcnhw[:, :, at], **arguments).prev_sample
            for at, part in self._parts
        ]
        latents_bcnhw = parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)
        self._finite.note(latents_bcnhw)
        return latents_bcnhw

    def check_finite(self, dtype: torch.dtype) -> None:
        """ModelError when the latents of a step were not finite; `dtype` is the precision of the UNet."""
        self._finite.check(len(self.timesteps), dtype)


def _set_timesteps(scheduler: Any, options: SamplingOptions, device: torch.device) -> None:
    """Starts a scheduler; ModelError, naming it, when it takes no given timesteps or sigmas, or not these."""
    given = {name: getattr(options, name) for name in ("timesteps", "sigmas")}
    given = {name: list(values) for name, values in given.items() if values is not None}
    if not given:
        scheduler.set_timesteps(options.num_inference_steps, device=device)
        return
    ((name, values),) = given.items()
    kind = type(scheduler).__name__
    if name not in inspect.signature(scheduler.set_timesteps).parameters:
        raise ModelError(
            f"{kind} takes no {name}; use another scheduler, such as EulerDiscreteScheduler, which takes both"
        )
    if not values:
        raise ModelError(f"{name} must name at least one step")
    try:
        scheduler.set_timesteps(device=device, **given)
    except (ValueError, TypeError, RuntimeError, IndexError) as error:
        raise ModelError(f"{name} do not fit {kind}: {str(error).splitlines()[0]}") from error


def _correct_free_frames_only(
    scheduler: Any,
    options: SamplingOptions,
    steps_per_frame: list[int],
    num_frames: int,
    device: torch.device,
) -> list[tuple[slice, Any]]:
    """A scheduler for each run of frames with the same guidance, whose corrector waits until it ends.

    A corrector computes the latents of a step anew from the step before, which would undo the overwriting by DSG.
    """
    if not hasattr(scheduler, "disable_corrector"):
        raise ModelError(
            f"{type(scheduler).__name__} corrects latents after the fact, which undoes staged guidance; "
            "use another scheduler, or beta=0"
        )
    counts = steps_per_frame + [0] * (num_frames - len(steps_per_frame))
    parts, start = [], 0
    for end in range(1, num_frames + 1):
        if end < num_frames and counts[end] == counts[start]:
            continue
        part = copy.deepcopy(scheduler)
        # Step s is corrected unless s - 1 is in this list.
        part.disable_corrector = list(scheduler.disable_corrector) + list(range(max(counts[start] - 1, 0)))
        _set_timesteps(part, options, device)
        parts.append((slice(start, end), part))
        start = end
    return parts
