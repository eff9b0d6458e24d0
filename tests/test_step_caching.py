"""Steps on the deep features of the step before: which are whole, whose features they are, and what the videos are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from flows.profile import Profile
from tasks.generation.settings import SamplingSettings
from tests.quick_sampling import PROMPTS, quick_latents
from tests.quiet_pipeline import quiet_pipeline
from vidrd_model import ModelError, VidRDPipeline
from vidrd_model.deep_features import DeepFeatures
from vidrd_model.metrics import psnr_db


@pytest.fixture(scope="module")
def pipe(small_model: Path) -> VidRDPipeline:
    return quiet_pipeline(small_model)


def _whole_steps(pipe: VidRDPipeline, **arguments: Any) -> list[bool]:
    """Of each pass of the UNet whether it was a whole one."""
    passes: list[bool] = []
    begins = pipe.unet.register_forward_pre_hook(lambda *_: passes.append(False))
    deep = pipe.unet.mid_block.register_forward_pre_hook(lambda *_: passes.__setitem__(-1, True))
    quick_latents(pipe, **arguments)
    begins.remove()
    deep.remove()
    return passes


def test_one_step_in_so_many_is_whole(pipe: VidRDPipeline) -> None:
    assert _whole_steps(pipe) == [True] * 6
    assert _whole_steps(pipe, cache_interval=2) == [True, False] * 3
    assert _whole_steps(pipe, cache_interval=4, clips=2) == [True, False, False, False, True, False] * 2
    assert _whole_steps(pipe, cache_interval=100, guidance_scale=1.0) == [True] + [False] * 5
    # Without guidance the features of the texts are those of a guided step; with it those of no text are missing.
    assert _whole_steps(pipe, cache_interval=3, guidance_stop=0.5) == [True, False, False] * 2
    assert _whole_steps(pipe, cache_interval=3, guidance_stop=0.34) == [True, False, False] * 2
    assert _whole_steps(pipe, cache_interval=3, guidance_start=0.2) == [True, True, False, True, False, False]


def test_features_of_the_same_latents_give_the_same_target(pipe: VidRDPipeline) -> None:
    unet, deep = pipe.unet, DeepFeatures()
    generator = torch.Generator().manual_seed(0)
    x_bcnhw = torch.randn(4, 4, 8, 8, 8, generator=generator)
    text_btd = torch.randn(4, 7, unet.config.cross_attention_dim, generator=generator)
    with torch.no_grad():
        plain = unet(x_bcnhw, 500, text_btd).sample
        assert torch.equal(unet(x_bcnhw, 500, text_btd, deep=deep).sample, plain)
        assert torch.equal(unet(x_bcnhw, 500, text_btd, deep=deep).sample, plain)
        last = unet(x_bcnhw[2:], 500, text_btd[2:], deep=deep).sample
        torch.testing.assert_close(last, plain[2:], atol=1e-5, rtol=1e-4)
        other_bcnhw = x_bcnhw.flip(2)
        wanted = unet(other_bcnhw, 500, text_btd).sample
        assert not torch.allclose(unet(other_bcnhw, 500, text_btd, deep=deep).sample, wanted, atol=1e-3)
        deep.drop()
        assert torch.equal(unet(other_bcnhw, 500, text_btd, deep=deep).sample, wanted)


def test_features_of_other_texts_are_not_taken(pipe: VidRDPipeline) -> None:
    """A callback that changes the text within the interval is heard at once."""

    def change(pipeline: Any, step: int, timestep: Any, given: dict[str, Any]) -> dict[str, Any]:
        return {"prompt_embeds": given["prompt_embeds"].flip(0) + 1} if step == 2 else {}

    heard = {"callback_on_step_end": change, "callback_on_step_end_tensor_inputs": ["prompt_embeds"]}
    assert _whole_steps(pipe, cache_interval=6, **heard) == [True, False, False, True, False, False]


def test_an_interval_of_one_is_no_caching(pipe: VidRDPipeline) -> None:
    plain = quick_latents(pipe, PROMPTS, 2)
    assert torch.equal(quick_latents(pipe, PROMPTS, 2, cache_interval=1), plain)
    assert not torch.allclose(quick_latents(pipe, PROMPTS, 2, cache_interval=2), plain, atol=1e-3)


@pytest.mark.parametrize("arguments", [{"clips_at_once": 3}, {"clips_at_once": 2, "guidance_stop": 0.5}])
def test_clips_at_once_and_videos_together_are_those_alone(pipe: VidRDPipeline, arguments: Any) -> None:
    usual = {"cache_interval": 2} | {k: v for k, v in arguments.items() if k != "clips_at_once"}
    together = quick_latents(pipe, PROMPTS, 3, **usual | arguments)
    for place, prompt in enumerate(PROMPTS):
        alone = quick_latents(pipe, prompt, 3, **usual)
        torch.testing.assert_close(together[place][None], alone, atol=1e-4, rtol=1e-4)


def test_weights_that_are_away_do_not_matter(small_model: Path) -> None:
    wanted = quick_latents(quiet_pipeline(small_model), cache_interval=2)
    for offload in ("enable_model_cpu_offload", "enable_sequential_cpu_offload"):
        pipe = quiet_pipeline(small_model)
        getattr(pipe, offload)(device="cpu")
        assert torch.equal(quick_latents(pipe, cache_interval=2), wanted)
    pipe = quiet_pipeline(small_model)
    pipe.enable_group_offload(torch.device("cpu"), offload_type="leaf_level")
    torch.testing.assert_close(quick_latents(pipe, cache_interval=2), wanted, atol=1e-5, rtol=1e-5)


def test_it_is_refused_where_it_cannot_be(pipe: VidRDPipeline) -> None:
    with pytest.raises(ModelError, match="cache_interval must be at least 1, not 0"):
        quick_latents(pipe, cache_interval=0)
    with pytest.raises(ValidationError, match="cache_interval 2: freenoise computes every step whole"):
        SamplingSettings(method="freenoise", cache_interval=2)


def test_it_travels_with_a_model_and_earlier_videos_keep_their_identity(
    pipe: VidRDPipeline, tmp_path: Path
) -> None:
    VidRDPipeline(**pipe.components, sampling={"cache_interval": 3}).save_pretrained(tmp_path)
    assert _whole_steps(quiet_pipeline(tmp_path)) == [True, False, False] * 2
    usual = SamplingSettings().identity()
    assert "cache_interval" not in usual
    assert SamplingSettings(cache_interval=2).identity() == usual | {"cache_interval": 2}


@pytest.mark.slow
def test_the_embedded_models_videos_stay_what_they_are(tiny_profile: Profile) -> None:
    """What the setting is kept for: at two steps a whole one, 30 dB to the videos of whole steps."""
    pipe = quiet_pipeline(Path(tiny_profile.model))
    asked = tiny_profile.sampling.pipeline_arguments() | {"output_type": "uint8", "seed": 3}
    whole = pipe(PROMPTS, 2, **asked).frames
    cached = pipe(PROMPTS, 2, **asked | {"cache_interval": 2}).frames
    fidelity = [psnr_db(np.asarray(a), np.asarray(b)) for a, b in zip(cached, whole, strict=True)]
    assert min(fidelity) > 27 and np.mean(fidelity) > 30
