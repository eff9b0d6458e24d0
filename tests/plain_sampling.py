"""VidRD's sampling written out plainly: every clip's every latent kept, frame by frame, DDIM as the formula.

It shares no code with `vidrd_model`. See the paper's section 3.2 and the loop in the goldens' README.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

Predict = Callable[[torch.Tensor, int], torch.Tensor]


def plain_clips(
    predict: Predict,
    fresh_noise: Sequence[torch.Tensor],
    alphas_cumprod: torch.Tensor,
    steps: int,
    prompt_frames: int,
    alpha: float,
    beta: float,
    v_prediction: bool,
    loop: bool = False,
) -> list[torch.Tensor]:
    """The final latents (b c n h w) of each clip; `predict` is the model with its guidance."""
    length, spacing = fresh_noise[0].shape[2], len(alphas_cumprod) // steps
    timesteps = [step * spacing + 1 for step in reversed(range(steps))]  # leading spacing, offset 1
    all_before: list[list[torch.Tensor]] = []  # of each clip, the latents that went into each step
    finals = []
    for clip, fresh in enumerate(fresh_noise):
        x = fresh.clone()
        if clip:
            for j in range(length):
                old = all_before[-1][0][:, :, length - 1 - j]
                if j < prompt_frames:
                    x[:, :, j] = old
                else:
                    share = 1.0 if alpha == float("inf") else alpha / (1 + alpha**2) ** 0.5
                    x[:, :, j] = share * old + (1 - share**2) ** 0.5 * fresh[:, :, j]
        before = []
        for step, t in enumerate(timesteps):
            if clip:
                for j in range(prompt_frames):
                    if step < (prompt_frames - j) * (steps / prompt_frames) * beta:
                        x[:, :, j] = all_before[-1][step][:, :, length - 1 - j]
            if loop and clip == len(fresh_noise) - 1:
                for j in range(min(prompt_frames, length - prompt_frames)):
                    if step < (prompt_frames - j) * (steps / prompt_frames) * beta:
                        x[:, :, length - 1 - j] = all_before[0][step][:, :, j]
            before.append(x.clone())
            x = _ddim(x, predict(x, t), t, t - spacing, alphas_cumprod, v_prediction)
        all_before.append(before)
        finals.append(x)
    return finals


def _ddim(
    x: torch.Tensor, out: torch.Tensor, t: int, t_next: int, alphas_cumprod: torch.Tensor, v_prediction: bool
) -> torch.Tensor:
    now = alphas_cumprod[t]
    then = alphas_cumprod[t_next] if t_next >= 0 else alphas_cumprod[0]  # set_alpha_to_one is off
    if v_prediction:
        x0 = now.sqrt() * x - (1 - now).sqrt() * out
        eps = now.sqrt() * out + (1 - now).sqrt() * x
    else:
        x0 = (x - (1 - now).sqrt() * out) / now.sqrt()
        eps = out
    return then.sqrt() * x0 + (1 - then).sqrt() * eps
