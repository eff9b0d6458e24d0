"""DDIM inversion: the noise and the latents of every step from which a scheduler's own steps lead to a given clip.

Sampling computes x_{s+1} = a_s x_s + b_s f(x_s, t_s), f being the UNet. Here x_{s+1} is given, and x_s is iterated to
the fixed point of x_s = (x_{s+1} - b_s f(x_s, t_s)) / a_s, where the usual inversion takes f(x_{s+1}, t_s) and stops.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusers import DDIMScheduler

from vidrd_model.errors import ModelError
from vidrd_model.guidance import Predictor
from vidrd_model.sampling_options import SamplingOptions
from vidrd_model.stepper import Stepper

MAX_ITERATIONS = 12
TOLERANCE = 1e-3
"""The iterations of a step end when they change this part of the noise's deviation, on average."""


def check_invertible(scheduler: Any) -> None:
    """ModelError, naming the scheduler, unless its steps can be undone: DDIM's can, without clipping."""
    kind = type(scheduler).__name__
    if not isinstance(scheduler, DDIMScheduler):
        raise ModelError(
            f"{kind} cannot be inverted: only DDIM's steps can; use DDIMScheduler (--scheduler ddim)"
        )
    if scheduler.config.prediction_type == "sample":
        raise ModelError(
            f"{kind} of a model that predicts clean latents cannot be inverted: it need not converge"
        )
    for name in ("clip_sample", "thresholding"):
        if scheduler.config[name]:
            raise ModelError(
                f"{kind} with {name} cannot be inverted: what it clips is lost; set {name}=False"
            )


@torch.no_grad()
def invert(
    predict: Predictor,
    scheduler: Any,
    options: SamplingOptions,
    latents_bcnhw: torch.Tensor,
    on_step: Callable[[], object] | None = None,
) -> list[torch.Tensor]:
    """The latents b c n h w, float32, that went into each step if these latents had been sampled; the first are noise.

    Steps are without fresh noise. `predict` has a guidance of 1: more of it leads away from what real clips look like.
    on_step is called after each step. Raises ModelError for other schedulers than DDIM and for latents that are not
    finite.
    """
    check_invertible(scheduler)
    stepper = Stepper(scheduler, options, latents_bcnhw.shape[2], latents_bcnhw.device)
    inverted: list[torch.Tensor] = []
    x_bcnhw = latents_bcnhw.float()
    for timestep in stepper.timesteps.flip(0):
        a, b = _coefficients(stepper, timestep, x_bcnhw)
        x_bcnhw = _undone_step(predict, timestep, x_bcnhw, a, b)
        inverted.append(x_bcnhw)
        if on_step is not None:
            on_step()
    if not bool(torch.isfinite(x_bcnhw).all()):
        raise ModelError("the inverted latents are not finite: use more steps, or a UNet of higher precision")
    return inverted[::-1]


def _undone_step(
    predict: Predictor, timestep: torch.Tensor, after_bcnhw: torch.Tensor, a: float, b: float
) -> torch.Tensor:
    before_bcnhw = after_bcnhw
    moving_b = torch.ones(len(after_bcnhw), dtype=torch.bool, device=after_bcnhw.device)
    for _ in range(MAX_ITERATIONS):
        new_bcnhw = (after_bcnhw - b * predict(before_bcnhw, timestep)) / a
        changes_b = (new_bcnhw - before_bcnhw).abs().flatten(1).mean(dim=1)
        # Video by video, so that none depends on the others of its batch.
        before_bcnhw = torch.where(moving_b[:, None, None, None, None], new_bcnhw, before_bcnhw)
        moving_b &= ~(changes_b < TOLERANCE)
        if not bool(moving_b.any()):
            break
    return before_bcnhw


def _coefficients(stepper: Stepper, timestep: torch.Tensor, like_bcnhw: torch.Tensor) -> tuple[float, float]:
    """What a step multiplies the latents and the UNet's target with: a step without fresh noise is linear in both.

    Asked of the scheduler itself, they are right for every spacing of timesteps.
    """
    zero = like_bcnhw.new_zeros(1, 1, like_bcnhw.shape[2], 1, 1)
    one = torch.ones_like(zero)
    a = stepper.step(zero, timestep, one, None)
    b = stepper.step(one, timestep, zero, None)
    return float(a.flatten()[0]), float(b.flatten()[0])
