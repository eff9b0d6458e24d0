"""One diffusers scheduler for all frames of a batch of clips, whatever state it carries."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from typing import Any

import torch

from vidrd_model.errors import ModelError
from vidrd_model.finite import FiniteSteps
from vidrd_model.reuse import closing_frames, guided_steps
from vidrd_model.sampling_options import SamplingOptions


class Stepper:
    """A diffusers scheduler, started anew for each clip because most carry state (quirk Q6).

    `corrects` says whether it computes latents anew from the step before, as UniPC does; `closes` that the clip is the
    last one of a loop, whose last `closing_frames` are guided too.
    """

    def __init__(
        self,
        scheduler: Any,
        options: SamplingOptions,
        num_frames: int,
        device: torch.device,
        closes: bool = False,
    ):
        first = copy.deepcopy(scheduler)
        self.timesteps = _start(first, options, device)
        self.init_noise_sigma = first.init_noise_sigma
        # Schedulers of second order have more timesteps than were asked for.
        self.steps_per_frame = guided_steps(options.prompt_frames, len(self.timesteps), options.beta)
        if options.strength is not None:  # frames that clips share are the same frames, to the last step
            self.steps_per_frame = [len(self.timesteps)] * options.prompt_frames
        self.closing_frames = closing_frames(options.prompt_frames, num_frames)
        self._parts = [(slice(0, num_frames), first)]
        self.corrects = hasattr(first, "last_sample")
        if self.corrects and any(self.steps_per_frame):
            counts = self.steps_per_frame + [0] * (num_frames - options.prompt_frames)
            if closes:
                counts[num_frames - self.closing_frames :] = counts[: self.closing_frames][::-1]
            self._parts = _correct_free_frames_only(scheduler, options, counts, device)
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

    def begin(self, noise_bcnhw: torch.Tensor, clean_bcnhw: torch.Tensor | None) -> torch.Tensor:
        """The latents of the first step: unit-variance noise, scaled, or with it the clean latents of a given clip."""
        if clean_bcnhw is None:
            return noise_bcnhw * self.init_noise_sigma
        return self.add_noise(clean_bcnhw, noise_bcnhw, self.timesteps[:1])

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

    def check_draws_for_each_clip(self) -> None:
        """ModelError for a scheduler that draws one noise for a whole batch: it cannot take several clips at once."""
        scheduler = self._parts[0][1]
        if hasattr(scheduler, "noise_sampler"):
            raise ModelError(
                f"{type(scheduler).__name__} draws one noise for all clips of a batch; set clips_at_once to 1, or use "
                "another scheduler"
            )

    def check_finite(self, dtype: torch.dtype) -> None:
        """ModelError when the latents of a step were not finite; `dtype` is the precision of the UNet."""
        self._finite.check(len(self.timesteps), dtype)


def _start(scheduler: Any, options: SamplingOptions, device: torch.device) -> torch.Tensor:
    """Sets a scheduler's timesteps and where it begins; returns those that are to be run."""
    _set_timesteps(scheduler, options, device)
    if options.strength is None:
        timesteps: torch.Tensor = scheduler.timesteps
        return timesteps
    if not hasattr(scheduler, "add_noise"):
        raise ModelError(
            f"{type(scheduler).__name__} cannot noise a given video; use another scheduler, such as DDIMScheduler"
        )
    if scheduler.config.get("skip_prk_steps") is False:
        raise ModelError(
            f"{type(scheduler).__name__} cannot begin within its Runge-Kutta steps, as the editing of a video does: "
            "set skip_prk_steps=True, or use another scheduler"
        )
    # Of second order it has two timesteps, or nearly, for each step that was asked for.
    asked = options.sigmas if options.timesteps is None else options.timesteps
    steps = options.num_inference_steps if asked is None else len(asked)
    skipped = options.first_step(steps) * getattr(scheduler, "order", 1)
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(skipped)
    if "skip_prk_steps" not in scheduler.config:
        return scheduler.timesteps[skipped:]
    # PNDM runs the second of its timesteps twice, wherever it begins.
    rest = scheduler.timesteps.unique().flip(0)[skipped:]
    return torch.cat([rest[:2], rest[1:]])


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
    counts: list[int],
    device: torch.device,
) -> list[tuple[slice, Any]]:
    """A scheduler for each run of frames that are guided in as many steps, whose corrector waits until then.

    A corrector computes the latents of a step anew from the step before, which would undo the overwriting by DSG.
    """
    if not hasattr(scheduler, "disable_corrector"):
        raise ModelError(
            f"{type(scheduler).__name__} corrects latents after the fact, which undoes staged guidance; "
            "use another scheduler, or beta=0"
        )
    parts, start = [], 0
    for end in range(1, len(counts) + 1):
        if end < len(counts) and counts[end] == counts[start]:
            continue
        part = copy.deepcopy(scheduler)
        # Step s is corrected unless s - 1 is in this list.
        _start(part, options, device)
        begin = part.begin_index or 0
        held = range(begin, begin + max(counts[start] - 1, 0))
        part.disable_corrector = list(scheduler.disable_corrector) + list(held)
        parts.append((slice(start, end), part))
        start = end
    return parts
