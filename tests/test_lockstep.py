"""Clips that take each step together are what they are one after another, whatever the sampler reuses between them."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.generation.asked import AskedVideos
from tasks.generation.generate import stream_batch
from tasks.generation.settings import SamplingSettings
from tests.quiet_pipeline import quiet_pipeline
from tests.test_sampling import SCHEDULERS, tiny_unet
from vidrd_model import ModelError, TemporalUNet, VidRDPipeline
from vidrd_model.baselines import stream_overlap
from vidrd_model.noise import clip_noise, step_generators
from vidrd_model.sampling import ClipSampler, ClipToSample
from vidrd_model.sampling_options import SamplingOptions
from vidrd_model.windows import default_clips_at_once, in_windows, window_sizes

SHAPE = (4, 5, 4, 4)
PROMPTS = ["a red circle moving right", "a blue square moving up"]
STORY = [[PROMPTS[0], PROMPTS[1]], [PROMPTS[1]]]
QUICK: dict[str, Any] = {"num_inference_steps": 3, "guidance_scale": 4.0, "seed": [7, 9]}


@pytest.fixture(scope="module")
def unet() -> TemporalUNet:
    return tiny_unet()


@pytest.fixture(scope="module")
def pipe(small_model: Path) -> VidRDPipeline:
    return quiet_pipeline(small_model)


def _clip(clip: int, seeds: list[int], changing_text: bool = True, **callbacks: Any) -> ClipToSample:
    keys = [f"{seed}" for seed in seeds]
    draw = torch.Generator().manual_seed(clip // 2 if changing_text else 0)
    text_btd = torch.randn(len(seeds), 3, 8, generator=draw)
    generators = step_generators(seeds, keys, clip)
    noise_bcnhw = clip_noise(seeds, keys, clip, SHAPE)
    return ClipToSample(noise_bcnhw, text_btd, torch.zeros_like(text_btd), generators, **callbacks)


def _sampled(sampler: ClipSampler, sizes: list[int], seeds: list[int]) -> torch.Tensor:
    """The latents of all clips, in windows of these sizes."""
    clips = [_clip(clip, seeds) for clip in range(sum(sizes))]
    return torch.stack(
        [one for window in in_windows(clips, iter([*sizes, 1])) for one in sampler.next_window(window)]
    )


def _assert_same(got: torch.Tensor, wanted: torch.Tensor) -> None:
    torch.testing.assert_close(got, wanted, atol=1e-3 * wanted.std().item(), rtol=0)


@pytest.mark.parametrize("name", SCHEDULERS)
@torch.no_grad()
def test_every_scheduler_gives_the_clips_of_one_after_another(unet: TemporalUNet, name: str) -> None:
    """Two videos, texts that change, more prompt frames than half, and guidance to the end."""
    scheduler = getattr(diffusers, name).from_config(
        DDIMScheduler(beta_schedule="scaled_linear", clip_sample=False).config
    )
    options = SamplingOptions(4, 3.0, prompt_frames=4, alpha=4.0, beta=1.0, eta=0.0)
    wanted = _sampled(ClipSampler(unet, scheduler, options), [1] * 6, [7, 8])
    _assert_same(_sampled(ClipSampler(unet, scheduler, options), [1, 2, 3], [7, 8]), wanted)


@settings(max_examples=8, deadline=None)
@given(
    prompt_frames=st.integers(0, 5),
    alpha=st.sampled_from([0.0, 4.0, math.inf]),
    beta=st.sampled_from([0.0, 0.4, 1.0]),
    steps=st.integers(1, 8),
    sizes=st.sampled_from([[4], [2, 2], [3, 1], [1, 3]]),
    full=st.sampled_from(["reversed", "mixed"]),
    eta=st.sampled_from([0.0, 0.7]),
)
@torch.no_grad()
def test_any_setting_and_window(
    unet: TemporalUNet,
    prompt_frames: int,
    alpha: float,
    beta: float,
    steps: int,
    sizes: list[int],
    full: str,
    eta: float,
) -> None:
    options = SamplingOptions(steps, 3.0, prompt_frames, alpha, beta, eta, full)
    scheduler = DDIMScheduler(beta_schedule="scaled_linear", clip_sample=False)
    wanted = _sampled(ClipSampler(unet, scheduler, options), [1] * 4, [7])
    _assert_same(_sampled(ClipSampler(unet, scheduler, options), sizes, [7]), wanted)


class OneNoiseScheduler(DDIMScheduler):
    """Keeps a sampler of noise for the whole batch, as those with Brownian trees do."""

    noise_sampler = None


def test_a_scheduler_that_draws_one_noise_for_all_takes_clips_one_by_one_only(unet: TemporalUNet) -> None:
    sampler = ClipSampler(unet, OneNoiseScheduler(), SamplingOptions(2, 1.0, prompt_frames=2))
    with pytest.raises(ModelError, match=r"OneNoiseScheduler draws one noise .*clips_at_once to 1"):
        sampler.next_window([_clip(0, [7]), _clip(1, [7])])
    assert torch.isfinite(sampler.next_clip(_clip(0, [7]))).all()


def test_callbacks_come_step_by_step_and_within_one_clip_by_clip(unet: TemporalUNet) -> None:
    heard: list[tuple[str, int, int]] = []
    clips = [
        _clip(
            clip,
            [7],
            on_step_start=lambda step, latents, clip=clip: heard.append(("start", step, clip)),
            on_step_end=lambda step, timestep, latents, clip=clip: heard.append(("end", step, clip)),
        )
        for clip in range(3)
    ]
    ClipSampler(unet, DDIMScheduler(), SamplingOptions(2, 1.0)).next_window(clips)
    assert heard == [
        (when, step, clip) for step in range(2) for when in ("start", "end") for clip in range(3)
    ]


def test_an_error_leaves_the_sampler_at_the_window_before(unet: TemporalUNet) -> None:
    def fail(step: int, latents: torch.Tensor) -> None:
        if step == 2:
            raise ValueError("enough")

    options, seeds = SamplingOptions(4, 1.0, prompt_frames=3, beta=1.0), [7]
    wanted = _sampled(ClipSampler(unet, DDIMScheduler(), options), [2, 2], seeds)
    sampler = ClipSampler(unet, DDIMScheduler(), options)
    sampler.next_window([_clip(clip, seeds) for clip in range(2)])
    with pytest.raises(ValueError, match="enough"):
        sampler.next_window([_clip(2, seeds), _clip(3, seeds, on_step_start=fail)])
    again = sampler.next_window([_clip(clip, seeds) for clip in (2, 3)])
    assert torch.equal(torch.stack(again), wanted[2:])


@pytest.fixture(scope="module")
def wanted(pipe: VidRDPipeline) -> np.ndarray:
    return pipe(STORY, 4, clips_at_once=1, **QUICK).frames


@pytest.mark.parametrize(("at_once", "first"), [(3, 1), (8, None)])
def test_a_pipeline_shows_the_same_videos(
    pipe: VidRDPipeline, wanted: np.ndarray, at_once: int, first: int | None
) -> None:
    frames = pipe(STORY, 4, clips_at_once=at_once, first_window=first, **QUICK).frames
    assert frames.shape == wanted.shape and np.abs(frames - wanted).max() < 2 / 255


def test_each_text_is_projected_once(pipe: VidRDPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    project, rows = type(pipe.unet).project_text, []

    def noted(unet: TemporalUNet, text_btd: torch.Tensor) -> Any:
        rows.append(len(text_btd))
        return project(unet, text_btd)

    monkeypatch.setattr(type(pipe.unet), "project_text", noted)
    list(pipe.stream(STORY, 4, clips_at_once=4, output_type="latent", **QUICK))
    # Of two videos: what they should not show, the first clip's texts, and those of the three after it.
    assert rows == [2 + 2 + 2]
    rows.clear()
    list(pipe.stream(PROMPTS, 6, clips_at_once=2, output_type="latent", **QUICK))
    assert rows == [2 + 2]


def test_latents_are_sampled_at_once_too(pipe: VidRDPipeline) -> None:
    text, negative = pipe.encode_prompt(PROMPTS), pipe.encode_prompt(["", ""])
    noises = [clip_noise([7, 8], PROMPTS, clip, (4, 8, 8, 8)) for clip in range(3)]
    asked: dict[str, Any] = {"num_inference_steps": 3, "guidance_scale": 4.0, "initial_noise": noises[0]}
    seen: dict[int, list[tuple[int, int, torch.Tensor]]] = {1: [], 3: []}
    results = {
        at_once: torch.stack(
            list(
                pipe.sample_latents(
                    text,
                    negative,
                    fresh_noise=noises[1:],
                    clips_at_once=at_once,
                    on_step=lambda clip, step, latents, heard=heard: heard.append((clip, step, latents)),
                    **asked,
                )
            )
        )
        for at_once, heard in seen.items()
    }
    _assert_same(results[3], results[1])
    assert [one[:2] for one in seen[3]] == [(clip, step) for step in range(3) for clip in range(3)]
    for clip, step, latents in seen[3]:
        _assert_same(latents, next(one[2] for one in seen[1] if one[:2] == (clip, step)))


def test_what_a_callback_does_to_its_clip_it_does_to_no_other(pipe: VidRDPipeline) -> None:
    """Other texts, another guidance and other latents in the second clip, from its second step on."""
    other_btd = pipe.encode_prompt([PROMPTS[1]])

    def change(pipe: Any, step: int, timestep: Any, shown: dict[str, Any]) -> dict[str, Any]:
        if shown["clip"] != 1 or step != 1:
            return {}
        pipe._guidance_scale = 1.0
        return {"prompt_embeds": other_btd, "latents": shown["latents"] + 0.1}

    asked: dict[str, Any] = {
        "callback_on_step_end": change,
        "callback_on_step_end_tensor_inputs": ["latents", "prompt_embeds", "clip"],
        "output_type": "latent",
        "num_inference_steps": 4,
        "guidance_scale": 4.0,
    }
    wanted, got = (
        torch.stack(list(pipe.stream(PROMPTS[0], 3, clips_at_once=at_once, **asked))) for at_once in (1, 3)
    )
    _assert_same(got, wanted)


def test_an_interrupt_keeps_whole_windows(pipe: VidRDPipeline) -> None:
    def stop(pipe: Any, step: int, timestep: Any, shown: dict[str, Any]) -> dict[str, Any]:
        pipe.interrupt = shown["clip"] == 3 and step == 1
        return {}

    frames = pipe(
        PROMPTS[0], 6, clips_at_once=2, callback_on_step_end=stop, seam="keep", num_inference_steps=3
    )
    assert frames.frames.shape[1] == 2 * 8


def test_window_sizes() -> None:
    assert [len(window) for window in in_windows(range(20), window_sizes(8, 1))] == [1, 2, 4, 8, 5]
    assert [len(window) for window in in_windows(range(7), window_sizes(3))] == [3, 3, 1]
    cuda = torch.device("cuda")
    assert default_clips_at_once(cuda, 1, (4, 8, 32, 32)) == 16
    assert default_clips_at_once(cuda, 4, (4, 8, 32, 32)) == 4
    assert default_clips_at_once(cuda, 1, (4, 8, 96, 96)) == 1
    assert default_clips_at_once(torch.device("cpu"), 1, (4, 8, 32, 32)) == 1


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"clips_at_once": 0}, "clips_at_once must be at least 1, not 0"),
        ({"clips_at_once": 4, "first_window": 5}, "first_window must lie in 1..4, clips_at_once, not 5"),
        ({"clips_at_once": 4, "first_window": 0}, "first_window must lie in 1..4"),
    ],
)
def test_windows_that_cannot_be_are_refused(pipe: VidRDPipeline, asked: dict[str, int], named: str) -> None:
    with pytest.raises(ModelError, match=named):
        next(pipe.stream(PROMPTS, 2, **asked, **QUICK))


def test_baselines_take_one_clip_at_a_time(pipe: VidRDPipeline) -> None:
    with pytest.raises(TypeError, match="clips_at_once"):
        next(stream_overlap(pipe, PROMPTS, 2, clips_at_once=2))


def test_settings_tell_videos_apart_as_earlier_versions_did() -> None:
    plain, at_once = SamplingSettings(), SamplingSettings(clips_at_once=3, prompts_per_batch=8)
    assert "clips_at_once" not in plain.identity() and at_once.identity()["clips_at_once"] == 3
    assert (plain.videos_at_once, at_once.videos_at_once) == (4, 2)
    assert SamplingSettings(clips_at_once=16).videos_at_once == 1
    assert at_once.pipeline_arguments()["clips_at_once"] == 3
    with pytest.raises(ValueError, match="overlap makes one clip after another"):
        SamplingSettings(method="overlap", clips_at_once=2)


def test_a_batch_of_the_settings_is_the_same_videos(small_model: Path) -> None:
    sampling = SamplingSettings(num_inference_steps=2, guidance_scale=4.0, seam="keep")
    asked = AskedVideos(small_model, PROMPTS, [7, 8], 3, sampling)
    wanted = np.concatenate(list(stream_batch(asked)), axis=1).astype(int)
    together = replace(asked, sampling=sampling.model_copy(update={"clips_at_once": 2}))
    assert [len(batch.prompts) for _, batch in together.batches()] == [2]
    assert np.abs(np.concatenate(list(stream_batch(together)), axis=1) - wanted).max() <= 1
