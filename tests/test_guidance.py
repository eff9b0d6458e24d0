"""Guidance that acts in some of the steps: which, what the others are, and that they are half the work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tasks.generation.asked import AskedVideos
from tasks.generation.generate import load_pipeline
from tasks.generation.settings import SamplingSettings
from tests.quick_sampling import PROMPTS, quick_latents
from tests.quiet_pipeline import quiet_pipeline
from vidrd_model import ModelError, VidRDPipeline
from vidrd_model.sampling_options import SamplingOptions


@pytest.fixture(scope="module")
def pipe(small_model: Path) -> VidRDPipeline:
    return quiet_pipeline(small_model)


def _clips_of_passes(pipe: VidRDPipeline, **arguments: Any) -> list[int]:
    """How many clips each pass of the UNet had."""
    seen: list[int] = []
    hook = pipe.unet.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    quick_latents(pipe, **arguments)
    hook.remove()
    return seen


def test_steps_outside_are_half_the_work(pipe: VidRDPipeline) -> None:
    assert _clips_of_passes(pipe) == [2] * 6
    assert _clips_of_passes(pipe, guidance_stop=0.5) == [2, 2, 2, 1, 1, 1]
    assert _clips_of_passes(pipe, guidance_start=0.34, guidance_stop=0.67) == [1, 1, 2, 2, 1, 1]
    assert _clips_of_passes(pipe, guidance_stop=0.5, guidance_scale=1.0) == [1] * 6
    assert _clips_of_passes(pipe, prompt=PROMPTS, guidance_stop=0.5) == [4, 4, 4, 2, 2, 2]


@pytest.mark.parametrize("prompt", [PROMPTS, [[PROMPTS[0], PROMPTS[1]]], [{0: PROMPTS[0], 5: PROMPTS[1]}]])
def test_a_step_outside_is_one_without_guidance(pipe: VidRDPipeline, prompt: Any) -> None:
    """As a callback makes it, which turns guidance off in the middle."""

    def turn_off(pipeline: Any, step: int, *_: Any) -> dict[str, Any]:
        if step == 2:
            pipeline._guidance_scale = 1.0
        return {}

    bounded = quick_latents(pipe, prompt, 2, guidance_stop=0.5, negative_prompt="blur")
    assert torch.equal(
        bounded, quick_latents(pipe, prompt, 2, callback_on_step_end=turn_off, negative_prompt="blur")
    )
    assert not torch.allclose(bounded, quick_latents(pipe, prompt, 2, negative_prompt="blur"), atol=1e-3)


def test_clips_at_once_are_those_of_one_after_another(pipe: VidRDPipeline) -> None:
    asked = {"guidance_start": 0.2, "guidance_stop": 0.7}
    torch.testing.assert_close(
        quick_latents(pipe, PROMPTS, 3, clips_at_once=3, **asked),
        quick_latents(pipe, PROMPTS, 3, **asked),
        atol=1e-4,
        rtol=1e-4,
    )


def test_it_travels_with_the_model(pipe: VidRDPipeline, tmp_path: Path) -> None:
    own = VidRDPipeline(**pipe.components, sampling={"guidance_stop": 0.5})
    own.save_pretrained(tmp_path)
    assert _clips_of_passes(quiet_pipeline(tmp_path)) == [2, 2, 2, 1, 1, 1]


@given(st.integers(1, 200), st.floats(0, 1), st.floats(0, 1))
def test_every_step_is_on_one_side(num_steps: int, one: float, other: float) -> None:
    start, stop = sorted((one, other))
    whole = [SamplingOptions().guides(step, num_steps) for step in range(num_steps)]
    assert all(whole)
    guided = [
        SamplingOptions(guidance_start=start, guidance_stop=stop).guides(step, num_steps)
        for step in range(num_steps)
    ]
    assert abs(sum(guided) - (stop - start) * num_steps) <= 1
    edges = [step for step in range(1, num_steps) if guided[step] != guided[step - 1]]
    assert len(edges) <= 2


@pytest.mark.parametrize(
    ("start", "stop"), [(0.5, 0.5), (0.7, 0.2), (-0.1, 1.0), (0.0, 1.1), (float("nan"), 1.0)]
)
def test_bounds_that_leave_nothing_are_refused(pipe: VidRDPipeline, start: float, stop: float) -> None:
    with pytest.raises(ModelError, match="guidance_start must lie below guidance_stop, both"):
        quick_latents(pipe, guidance_start=start, guidance_stop=stop)
    with pytest.raises(ValidationError, match="guidance_st"):
        SamplingSettings(guidance_start=start, guidance_stop=stop)


@pytest.mark.parametrize(
    "bounds", [{}, {"guidance_stop": 0.5}, {"guidance_start": 0.34, "guidance_stop": 0.67}]
)
@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_passes_are_counted_as_the_unet_is_called(pipe: VidRDPipeline, bounds: Any, scale: float) -> None:
    settings = SamplingSettings(num_inference_steps=6, guidance_scale=scale, **bounds)
    assert settings.unet_passes == sum(_clips_of_passes(pipe, guidance_scale=scale, **bounds))


@pytest.mark.parametrize("scheduler", [None, "ddim", "euler", "dpm++", "unipc"])
def test_the_spacing_of_the_steps_is_the_scheduler_s_or_the_one_asked(
    small_model: Path, scheduler: Any
) -> None:
    for spacing in (None, "trailing"):
        settings = SamplingSettings(scheduler=scheduler, timestep_spacing=spacing)
        made = load_pipeline(AskedVideos(small_model, PROMPTS[:1], [7], 1, settings)).scheduler
        assert made.config.timestep_spacing == (spacing or "leading")
        made.set_timesteps(4)
        # The last step of the training is run where the spacing is trailing, and only there.
        assert (int(made.timesteps[0]) == made.config.num_train_timesteps - 1) is (spacing == "trailing")


def test_the_baselines_guide_every_step() -> None:
    with pytest.raises(ValidationError, match="guidance_start and guidance_stop: overlap guides every step"):
        SamplingSettings(method="overlap", guidance_stop=0.5)


def test_videos_of_earlier_versions_keep_what_identifies_them() -> None:
    usual = SamplingSettings().identity()
    assert not {"guidance_start", "guidance_stop"} & usual.keys()
    assert SamplingSettings(guidance_stop=0.8).identity() == usual | {"guidance_stop": 0.8}
