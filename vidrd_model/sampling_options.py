"""How clips are sampled, as one message to the sampling loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vidrd_model.errors import ModelError

DEFAULT_STRENGTH = 0.8
# What binary fractions are off by: 0.58 of 50 steps is 29 steps.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class SamplingOptions:
    """How clips are sampled; prompt_frames M, alpha and beta are the paper's.

    eta is the share of fresh noise in each step, for schedulers that have it. `full_prompt_noise` is what noise M = N
    prompt frames start from: `reversed` (that of the last clip) or `mixed` (PNS for all, the release's quirk Q4).
    Guidance acts from the share guidance_start of the steps up to guidance_stop (arXiv 2404.07724); another step is one
    pass of the UNet for each clip, not two. One step in `cache_interval` is computed whole, the others on its deep
    features (arXiv 2312.00858). `timesteps` or `sigmas`, one for each step, take the place of the
    scheduler's own where it allows that. With a `strength` clips of a given video are edited: that part of the steps,
    the last ones, is run on noised clips, which have M frames in common.
    """

    num_inference_steps: int = 50
    guidance_scale: float = 7.5
    prompt_frames: int = 4
    alpha: float = 4.0
    beta: float = 0.4
    eta: float = 0.0
    full_prompt_noise: str = "reversed"
    guidance_rescale: float = 0.0
    guidance_start: float = 0.0
    guidance_stop: float = 1.0
    cache_interval: int = 1
    timesteps: Sequence[float] | None = None
    sigmas: Sequence[float] | None = None
    strength: float | None = None

    def check(self, num_frames: int, loop: bool = False) -> None:
        """ModelError, naming the option, when clips of so many frames, or a loop of them, cannot be sampled."""
        if not 0 <= self.prompt_frames <= num_frames:
            raise ModelError(
                f"prompt_frames must lie in 0..{num_frames}, the clip's frames, not {self.prompt_frames}"
            )
        if not self.alpha >= 0:
            raise ModelError(f"alpha must be at least 0, not {self.alpha}")
        for name in ("beta", "eta", "guidance_rescale"):
            if not 0 <= getattr(self, name) <= 1:
                raise ModelError(f"{name} must lie in 0..1, not {getattr(self, name)}")
        if not 0 <= self.guidance_start < self.guidance_stop <= 1:
            raise ModelError(
                "guidance_start must lie below guidance_stop, both in 0..1, not be "
                f"{self.guidance_start:g} and {self.guidance_stop:g}"
            )
        if loop and not (0 < self.prompt_frames < num_frames and self.beta > 0):
            raise ModelError(
                f"a loop needs guided frames and free ones: prompt_frames in 1..{num_frames - 1} and beta above 0, not "
                f"{self.prompt_frames} and {self.beta}"
            )
        for name in ("num_inference_steps", "cache_interval"):
            if getattr(self, name) < 1:
                raise ModelError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.full_prompt_noise not in ("reversed", "mixed"):
            raise ModelError(f"full_prompt_noise must be reversed or mixed, not {self.full_prompt_noise!r}")
        if self.timesteps is not None and self.sigmas is not None:
            raise ModelError("give either timesteps or sigmas, not both")
        if self.strength is not None and not 0 < self.strength <= 1:
            raise ModelError(f"strength must lie above 0 and up to 1, not {self.strength}")
        if self.strength is not None and self.prompt_frames == num_frames:
            raise ModelError(
                f"prompt_frames must lie in 0..{num_frames - 1} where a video is edited, not be {num_frames}: its "
                "clips go on"
            )

    def guides(self, step: int, num_steps: int) -> bool:
        """Whether guidance acts in a step of so many."""
        first, end = (
            int(num_steps * share + _ROUNDING) for share in (self.guidance_start, self.guidance_stop)
        )
        return first <= step < end

    def first_step(self, num_steps: int) -> int:
        """How many of a scheduler's steps are left out; ModelError where `strength` leaves none to run."""
        if self.strength is None:
            return 0
        run = int(num_steps * self.strength + _ROUNDING)
        if not run:
            raise ModelError(
                f"strength {self.strength} of {num_steps} steps is none; use more steps or strength"
            )
        return num_steps - run
