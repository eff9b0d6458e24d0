"""What the UNet is trained towards: noisy latents, the target, and each clip's weight; pure functions of tensors.

In the order of use, all randomness drawn by the caller as unit-variance noise, per clip:
`noise = compose_noise(noise, offsets, alpha, offset_strength)`, which the latents are noised with and the target is
made of; `noisy, target = noisy_and_target(...)`; `clip_losses(predicted, target, snr_weight(...))`.
"""

from __future__ import annotations

import torch

from tasks.errors import RequestError
from vidrd_model.noise import progressive_noise

PREDICTION_TYPES = ("epsilon", "v_prediction")


def compose_noise(
    noise_bcnhw: torch.Tensor, offsets_bc: torch.Tensor, alpha: float = 0.0, offset_strength: float = 0.0
) -> torch.Tensor:
    """Returns the noise of a training step from unit-variance draws, b c n h w.

    First the progressive prior (`alpha`, arXiv 2305.10474), which makes frames alike and keeps the variance at one;
    then the offset, `offset_strength` times one number per clip and channel, the same in every frame and pixel. The
    other order would let the prior weaken the offset from frame to frame.
    """
    noise_bcnhw = progressive_noise(noise_bcnhw, alpha)
    if offset_strength == 0:
        return noise_bcnhw
    return noise_bcnhw + offset_strength * offsets_bc[:, :, None, None, None]


def noisy_and_target(
    latents_bcnhw: torch.Tensor,
    noise_bcnhw: torch.Tensor,
    timesteps_b: torch.Tensor,
    alphas_cumprod_t: torch.Tensor,
    prediction_type: str,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns noisy latents and what the UNet should predict: the noise, or v = sqrt(a) noise - sqrt(1 - a) latents.

    `alphas_cumprod_t` is the scheduler's. Raises RequestError for another `prediction_type`.
    """
    _check_prediction_type(prediction_type)
    alpha_b1111 = _per_clip(alphas_cumprod_t, timesteps_b, latents_bcnhw)
    signal_scale, noise_scale = alpha_b1111.sqrt(), (1 - alpha_b1111).sqrt()
    noisy_bcnhw = signal_scale * latents_bcnhw + noise_scale * noise_bcnhw
    if prediction_type == "epsilon":
        return noisy_bcnhw, noise_bcnhw
    return noisy_bcnhw, signal_scale * noise_bcnhw - noise_scale * latents_bcnhw


def snr_weight(
    timesteps_b: torch.Tensor, alphas_cumprod_t: torch.Tensor, prediction_type: str, gamma: float | None
) -> torch.Tensor:
    """Returns the min-SNR weight of each clip's squared error, (b,) float32 (arXiv 2303.09556); all ones for None.

    With snr = a / (1 - a), the weight min(snr, gamma) of an error in the latents is min(snr, gamma) / snr of one in
    epsilon and min(snr, gamma) / (snr + 1) of one in v. Written without a division by snr: at zero terminal SNR it is 1
    for epsilon and 0 for v, and at snr = infinity it is 0. Raises RequestError for another `prediction_type`.
    """
    _check_prediction_type(prediction_type)
    if gamma is None:
        return torch.ones(timesteps_b.shape, device=timesteps_b.device)
    alpha_b = alphas_cumprod_t.to(timesteps_b.device)[timesteps_b].double()
    if prediction_type == "v_prediction":
        weight_b = torch.minimum(alpha_b, gamma * (1 - alpha_b))
    else:
        weight_b = torch.where(
            alpha_b <= gamma * (1 - alpha_b), 1.0, gamma * (1 - alpha_b) / alpha_b.clamp_min(1e-30)
        )
    return weight_b.float()


def clip_losses(
    predicted_bcnhw: torch.Tensor, target_bcnhw: torch.Tensor, weight_b: torch.Tensor
) -> torch.Tensor:
    """Returns the weighted mean squared error of each clip, (b,) float32, however short the dtype of the prediction."""
    return weight_b * (predicted_bcnhw.float() - target_bcnhw.float()).square().flatten(1).mean(1)


def _per_clip(values_t: torch.Tensor, timesteps_b: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return values_t.to(like.device, torch.float32)[timesteps_b][:, None, None, None, None]


def _check_prediction_type(prediction_type: str) -> None:
    if prediction_type not in PREDICTION_TYPES:
        raise RequestError(
            f"the scheduler's prediction_type is {prediction_type!r}; training knows {', '.join(PREDICTION_TYPES)}"
        )
