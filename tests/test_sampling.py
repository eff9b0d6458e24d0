"""The sampling loop: against a plain one, with many schedulers, and what it keeps."""

from __future__ import annotations

import copy
import math
from typing import Any

import diffusers
import pytest
import torch
from diffusers import DDIMScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.plain_sampling import plain_clips
from tests.test_parity_unet import random_weights
from vidrd_model import ModelError, TemporalUNet
from vidrd_model.noise import clip_noise, progressive_noise, step_generators
from vidrd_model.sampling import Cancelled, ClipSampler, ClipToSample
from vidrd_model.sampling_options import SamplingOptions

SCHEDULE = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "timestep_spacing": "leading",
}
SHAPE = (4, 5, 4, 4)


def tiny_unet() -> TemporalUNet:
    """One level of random weights: what holds of the loop holds whatever it predicts."""
    unet = TemporalUNet(
        block_out_channels=(32,),
        down_block_types=("CrossAttnDownBlock2D",),
        up_block_types=("CrossAttnUpBlock2D",),
        layers_per_block=1,
        attention_head_dim=2,
        cross_attention_dim=8,
    ).eval()
    random_weights(unet, 0)
    return unet


@pytest.fixture(scope="module")
def unet() -> TemporalUNet:
    return tiny_unet()


def _text(videos: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    text, negative = torch.randn((2, 1, 3, 8), generator=generator)
    return text.repeat(videos, 1, 1), negative.repeat(videos, 1, 1)


def _scheduler(name: str) -> Any:
    return getattr(diffusers, name).from_config(DDIMScheduler(**SCHEDULE).config)


def _clips(
    sampler: ClipSampler, clips: int = 3, seeds: tuple[int, ...] = (7,), **callbacks: Any
) -> list[torch.Tensor]:
    prompts, out = [str(seed) for seed in seeds], []
    text, negative = _text(len(seeds))
    for clip in range(clips):
        noise, generators = clip_noise(seeds, prompts, clip, SHAPE), step_generators(seeds, prompts, clip)
        closes = sampler.loop and clip == clips - 1
        out.append(
            sampler.next_clip(ClipToSample(noise, text, negative, generators, closes=closes, **callbacks))
        )
    return out


@settings(max_examples=12, deadline=None)
@given(
    prompt_frames=st.integers(0, 5),
    alpha=st.sampled_from([0.0, 0.5, 4.0, 8.0, math.inf]),
    beta=st.sampled_from([0.0, 0.3, 0.4, 0.8, 1.0]),
    steps=st.integers(1, 7),
    guidance_scale=st.sampled_from([1.0, 3.0]),
    v_prediction=st.booleans(),
    loop=st.booleans(),
)
@torch.no_grad()
def test_any_setting_equals_the_plain_loop(
    unet, prompt_frames, alpha, beta, steps, guidance_scale, v_prediction, loop
):
    loop = loop and 0 < prompt_frames < 5 and beta > 0
    kind = "v_prediction" if v_prediction else "epsilon"
    scheduler = DDIMScheduler(**SCHEDULE, prediction_type=kind)
    options = SamplingOptions(steps, guidance_scale, prompt_frames, alpha, beta)
    text, negative = _text()

    def predict(x: torch.Tensor, t: int) -> torch.Tensor:
        with_text, without = unet(x, t, text).sample, unet(x, t, negative).sample
        return with_text if guidance_scale == 1 else without + guidance_scale * (with_text - without)

    noise = [clip_noise([7], ["7"], clip, SHAPE) for clip in range(3)]
    wanted = plain_clips(
        predict, noise, scheduler.alphas_cumprod, steps, prompt_frames, alpha, beta, v_prediction, loop
    )
    for got, want in zip(_clips(ClipSampler(unet, scheduler, options, loop=loop)), wanted, strict=True):
        torch.testing.assert_close(got, want, atol=1e-3 * want.std().item(), rtol=1e-3)


SCHEDULERS = [
    "DDIMScheduler",
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "DPMSolverMultistepScheduler",
    "UniPCMultistepScheduler",
    "HeunDiscreteScheduler",
    "DEISMultistepScheduler",
    "PNDMScheduler",
    "LMSDiscreteScheduler",
]


@pytest.mark.parametrize("name", SCHEDULERS)
def test_guidance_reaches_every_scheduler(unet: TemporalUNet, name: str) -> None:
    """Guided to the last step, all frames end near the last clip's reversed, up to the scheduler's own noise."""
    options = SamplingOptions(6, 1.0, prompt_frames=5, beta=1.0)
    first, second, third = _clips(ClipSampler(unet, _scheduler(name), options))
    unguided = _clips(ClipSampler(unet, _scheduler(name), SamplingOptions(6, 1.0, prompt_frames=0)))
    for now, before in ((second, first), (third, second)):
        assert torch.isfinite(now).all()
        distance = (now[:, :, 0] - before.flip(2)[:, :, 0]).std()
        assert distance < 0.35 * (unguided[1][:, :, 0] - first.flip(2)[:, :, 0]).std()


@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_overwritten_latents_are_what_the_step_starts_from(unet: TemporalUNet, name: str) -> None:
    """While a frame is guided, what goes into the next step depends on the guidance alone, not on older latents."""
    seen: dict[tuple[int, int], torch.Tensor] = {}
    sampler = ClipSampler(unet, _scheduler(name), SamplingOptions(6, 1.0, prompt_frames=4, beta=0.5))
    for clip in range(2):
        _clips(sampler, 1, on_step_start=lambda step, x, clip=clip: seen.__setitem__((clip, step), x))
    counts = [4 * 6 / 4 * 0.5, 3 * 6 / 4 * 0.5, 2 * 6 / 4 * 0.5, 6 / 4 * 0.5]
    for frame, count in enumerate(counts):
        for step in range(math.ceil(count)):
            assert torch.equal(seen[1, step][:, :, frame], seen[0, step].flip(2)[:, :, frame])
    assert not torch.equal(seen[1, 5][:, :, 3], seen[0, 5].flip(2)[:, :, 3])


@pytest.mark.parametrize("name", [name for name in SCHEDULERS if "Ancestral" not in name])
def test_history_and_correctors_do_not_undo_the_guidance(unet: TemporalUNet, name: str) -> None:
    """A model that predicts no noise makes steps linear: guided by latents three times as large, so is the end."""
    silent = copy.deepcopy(unet)
    torch.nn.init.zeros_(silent.conv_out.weight)
    torch.nn.init.zeros_(silent.conv_out.bias)
    options = SamplingOptions(8, 1.0, prompt_frames=2, beta=0.75)
    finals = []
    for factor in (1.0, 3.0):
        sampler = ClipSampler(silent, _scheduler(name), options)
        _clips(sampler, 1)
        sampler._past = {step: factor * past for step, past in sampler._past.items()}
        finals += _clips(sampler, 1)
    usual, tripled = finals
    torch.testing.assert_close(tripled[:, :, :2], 3 * usual[:, :, :2], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(tripled[:, :, 2:], usual[:, :, 2:], atol=1e-4, rtol=1e-4)


def test_a_corrector_that_cannot_be_told_is_refused(unet: TemporalUNet) -> None:
    with pytest.raises(ModelError, match="SASolverScheduler"):
        _clips(ClipSampler(unet, _scheduler("SASolverScheduler"), SamplingOptions(4, 1.0)), 1)


@pytest.mark.parametrize(("name", "eta"), [("DDIMScheduler", 0.7), ("EulerAncestralDiscreteScheduler", 0.0)])
def test_a_schedulers_own_noise_belongs_to_the_video(unet: TemporalUNet, name: str, eta: float) -> None:
    options = SamplingOptions(4, 3.0, eta=eta)
    together = _clips(ClipSampler(unet, _scheduler(name), options), 2, (7, 8))
    alone = _clips(ClipSampler(unet, _scheduler(name), options), 2, (8,))
    again = _clips(ClipSampler(unet, _scheduler(name), options), 2, (8,))
    for both, one, same in zip(together, alone, again, strict=True):
        torch.testing.assert_close(both[1:], one, atol=1e-3 * one.std().item(), rtol=1e-3)
        assert torch.equal(one, same)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_loop_s_end_is_what_its_steps_start_from(unet: TemporalUNet, name: str) -> None:
    """While a last frame is guided, what goes into the next step is the first clip's, whatever the scheduler keeps."""
    seen: list[torch.Tensor] = []
    sampler = ClipSampler(
        unet, _scheduler(name), SamplingOptions(6, 1.0, prompt_frames=2, beta=0.5), loop=True
    )
    _clips(sampler, on_step_start=lambda _, latents: seen.append(latents))
    first, last = seen[: len(seen) // 3], seen[-len(seen) // 3 :]
    for frame, share in enumerate((0.5, 0.25)):
        guided = math.ceil(len(first) * share)
        alike = [torch.equal(a[:, :, frame], b[:, :, -1 - frame]) for a, b in zip(first, last, strict=True)]
        assert alike[:guided] == [True] * guided and not any(alike[guided:])


def test_only_what_the_next_clip_needs_is_kept(unet: TemporalUNet) -> None:
    """54 frame-latents at the published settings, against the 400 that the authors keep."""
    sampler = ClipSampler(unet, DDIMScheduler(**SCHEDULE), SamplingOptions(50, 1.0, 4, 4.0, 0.4))
    text, _ = _text()
    for clip in range(3):
        sampler.next_clip(ClipToSample(clip_noise([7], ["a"], clip, (4, 8, 4, 4)), text))
        tensors = [sampler._noise_bcnhw, *sampler._past.values()]
        assert sum(tensor.shape[2] for tensor in tensors) == 54
        assert sum(tensor.untyped_storage().nbytes() for tensor in tensors) == 54 * 4 * 4 * 4 * 4


def test_whole_guidance_and_the_releases_whole_noise(unet: TemporalUNet) -> None:
    """Quirk Q4: with M = N the release mixes fresh noise into every frame; ours starts from the reversed noise."""
    firsts = {}
    for mode in ("reversed", "mixed"):
        options = SamplingOptions(4, 1.0, prompt_frames=5, beta=0.0, full_prompt_noise=mode)
        sampler, seen = ClipSampler(unet, DDIMScheduler(**SCHEDULE), options), []
        _clips(sampler, 2, on_step_start=lambda step, x, seen=seen: seen.append(x) if step == 0 else None)
        firsts[mode] = seen
    past = firsts["reversed"][0].flip(2)
    assert torch.equal(firsts["reversed"][1], past)
    fresh = clip_noise([7], ["7"], 1, SHAPE)
    torch.testing.assert_close(firsts["mixed"][1], (4 * past + fresh) / 17**0.5)


def test_callbacks_get_finished_latents_and_may_replace_or_cancel(unet: TemporalUNet) -> None:
    sampler = ClipSampler(unet, DDIMScheduler(**SCHEDULE), SamplingOptions(4, 1.0))
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    _clips(sampler, 2, on_step_end=lambda step, timestep, x: seen.append((x, x.clone())))
    assert len(seen) == 8 and all(torch.equal(kept, copy) for kept, copy in seen)
    (last,) = _clips(
        sampler, 1, on_step_end=lambda step, timestep, x: torch.zeros_like(x) if step == 3 else None
    )
    assert not last.any()

    def cancel(step: int, timestep: Any, x: torch.Tensor) -> None:
        if step == 1:
            raise Cancelled

    with pytest.raises(Cancelled):
        _clips(sampler, 1, on_step_end=cancel)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"prompt_frames": 6}, r"prompt_frames must lie in 0\.\.5"),
        ({"alpha": -1.0}, "alpha"),
        ({"alpha": math.nan}, "alpha"),
        ({"beta": 1.1}, "beta"),
        ({"eta": -0.1}, "eta"),
        ({"num_inference_steps": 0}, "num_inference_steps"),
        ({"full_prompt_noise": "new"}, "full_prompt_noise"),
    ],
)
def test_impossible_options_are_refused_by_name(
    unet: TemporalUNet, options: dict[str, Any], named: str
) -> None:
    with pytest.raises(ModelError, match=named):
        _clips(ClipSampler(unet, DDIMScheduler(**SCHEDULE), SamplingOptions(**options)), 1)


@pytest.mark.parametrize("options", [{"prompt_frames": 0}, {"prompt_frames": 5}, {"beta": 0.0}])
def test_a_loop_that_nothing_could_close_is_refused(unet: TemporalUNet, options: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="a loop needs guided frames"):
        _clips(ClipSampler(unet, DDIMScheduler(**SCHEDULE), SamplingOptions(**options), loop=True), 1)


def test_the_noise_prior_keeps_unit_variance_and_the_releases_does_not() -> None:
    """Quirk Q7: the release takes the variance for the standard deviation."""
    noise = clip_noise([3], ["a"], 0, (4, 8, 64, 64))
    for alpha in (0.5, 1.0, 4.0):
        shared = progressive_noise(noise, alpha)
        assert all(abs(frame.std() - 1) < 0.02 for frame in shared.unbind(2))
        likeness = (shared[:, :, 0] * shared[:, :, 1]).mean()
        assert abs(likeness - alpha / (1 + alpha**2) ** 0.5) < 0.02
        assert progressive_noise(noise, alpha, "variance")[:, :, 7].std() < 0.95
    assert torch.equal(progressive_noise(noise, 0.0), noise)
    with pytest.raises(ModelError, match="noise_deviation"):
        progressive_noise(noise, 1.0, "half")
