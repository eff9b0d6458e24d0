"""Targets, weights and noise of the temporal training, against hand computation and diffusers."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDPMScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.errors import RequestError
from tasks.training.objective import clip_losses, compose_noise, noisy_and_target, snr_weight
from vidrd_model.noise import progressive_noise

SCHEDULER = DDPMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
ZERO_SNR = DDPMScheduler(rescale_betas_zero_snr=True)
ALL_STEPS = torch.arange(1000)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_noisy_latents_and_targets_are_the_schedulers(kind: str) -> None:
    latents, noise, steps = (
        torch.randn(3, 4, 2, 5, 5),
        torch.randn(3, 4, 2, 5, 5),
        torch.tensor([0, 500, 999]),
    )
    noisy, target = noisy_and_target(latents, noise, steps, SCHEDULER.alphas_cumprod, kind)
    torch.testing.assert_close(noisy, SCHEDULER.add_noise(latents, noise, steps))
    wanted = noise if kind == "epsilon" else SCHEDULER.get_velocity(latents, noise, steps)
    torch.testing.assert_close(target, wanted)


def test_min_snr_by_hand() -> None:
    alphas = torch.tensor([0.9, 0.5, 0.8])  # snr 9, 1 and 4
    steps = torch.tensor([0, 1, 2])
    torch.testing.assert_close(snr_weight(steps, alphas, "epsilon", 5.0), torch.tensor([5 / 9, 1.0, 1.0]))
    torch.testing.assert_close(
        snr_weight(steps, alphas, "v_prediction", 5.0), torch.tensor([5 / 10, 1 / 2, 4 / 5])
    )
    assert snr_weight(steps, alphas, "epsilon", None).tolist() == [1, 1, 1]


@given(gamma=st.floats(0.01, 1000), seed=st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_a_weighted_error_is_the_same_in_epsilon_and_in_v(gamma: float, seed: int) -> None:
    """Whatever latents a model believes in, its loss is min(snr, gamma) times their squared error."""
    generator = torch.Generator().manual_seed(seed)
    steps = torch.randint(0, 1000, (4,), generator=generator)
    latents, believed, noise = (torch.randn(4, 4, 2, 3, 3, generator=generator).double() for _ in range(3))
    alphas = SCHEDULER.alphas_cumprod
    alpha = alphas[steps].double()[:, None, None, None, None]
    snr = alpha / (1 - alpha)
    wanted = (snr.clamp(max=gamma) * (latents - believed).square()).flatten(1).mean(1)
    noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
    for kind in ("epsilon", "v_prediction"):
        target = noisy_and_target(latents, noise, steps, alphas.double(), kind)[1].double()
        believed_noise = (noisy - alpha.sqrt() * believed) / (1 - alpha).sqrt()
        predicted = noisy_and_target(believed, believed_noise, steps, alphas.double(), kind)[1].double()
        losses = clip_losses(predicted, target, snr_weight(steps, alphas, kind, gamma))
        torch.testing.assert_close(losses.double(), wanted, rtol=2e-3, atol=1e-5)


@given(gamma=st.floats(0, 1e6), kind=st.sampled_from(["epsilon", "v_prediction"]))
@settings(max_examples=40, deadline=None)
def test_weights_are_finite_and_at_most_one_whatever_the_schedule(gamma: float, kind: str) -> None:
    for scheduler in (SCHEDULER, ZERO_SNR):
        weights = snr_weight(ALL_STEPS, scheduler.alphas_cumprod, kind, gamma)
        assert torch.isfinite(weights).all() and weights.min() >= 0 and weights.max() <= 1


def test_zero_terminal_snr_and_no_noise_at_all() -> None:
    alphas, steps = torch.tensor([0.0, 1.0]), torch.tensor([0, 1])
    assert snr_weight(steps, alphas, "epsilon", 5.0).tolist() == [1, 0]
    assert snr_weight(steps, alphas, "v_prediction", 5.0).tolist() == [0, 0]
    assert ZERO_SNR.alphas_cumprod[-1] < 1e-8
    latents, noise = torch.randn(1, 4, 1, 2, 2), torch.randn(1, 4, 1, 2, 2)
    noisy, target = noisy_and_target(latents, noise, torch.tensor([0]), alphas, "v_prediction")
    assert torch.equal(noisy, noise) and torch.equal(target, -latents)


@given(strength=st.floats(0.01, 2), alpha=st.floats(0, 8), seed=st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_an_offset_is_one_number_per_clip_and_channel_after_the_prior(
    strength: float, alpha: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(2, 4, 5, 3, 3, generator=generator)
    offsets = torch.randn(2, 4, generator=generator)
    added = compose_noise(noise, offsets, alpha, strength) - progressive_noise(noise, alpha)
    wanted = strength * offsets[:, :, None, None, None].expand_as(noise)
    torch.testing.assert_close(added, wanted, atol=1e-5, rtol=1e-4)


def test_without_settings_the_noise_is_the_draw_and_the_prior_keeps_unit_variance() -> None:
    noise, offsets = torch.randn(64, 4, 8, 8, 8), torch.randn(64, 4)
    assert compose_noise(noise, offsets) is noise
    prior = compose_noise(noise, offsets, alpha=2.0)
    assert prior.var(dim=(0, 1, 3, 4)).sub(1).abs().max() < 0.05
    neighbours = (prior[:, :, 1:] * prior[:, :, :-1]).mean().item()
    assert neighbours == pytest.approx(2 / 5**0.5, abs=0.02)


def test_losses_are_per_clip_and_float32() -> None:
    predicted, target = torch.zeros(2, 4, 2, 2, 2, dtype=torch.bfloat16), torch.ones(2, 4, 2, 2, 2)
    target[1] = 3
    losses = clip_losses(predicted, target, torch.tensor([1.0, 0.5]))
    assert losses.dtype == torch.float32 and losses.tolist() == [1, 4.5]


def test_another_prediction_type_is_refused_by_name() -> None:
    x, steps = torch.zeros(1, 4, 1, 2, 2), torch.tensor([0])
    with pytest.raises(RequestError, match=r"prediction_type is 'sample'"):
        noisy_and_target(x, x, steps, SCHEDULER.alphas_cumprod, "sample")
    with pytest.raises(RequestError, match="prediction_type"):
        snr_weight(steps, SCHEDULER.alphas_cumprod, "sample", None)
