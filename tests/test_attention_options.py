"""What users of diffusers set on a UNet: attention processors, fused projections, FreeU, channels-last memory."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0

from tests.quiet_pipeline import quiet_pipeline
from tests.test_parity_unet import random_weights
from vidrd_model import TemporalUNet, VidRDPipeline

QUICK: dict[str, Any] = {"num_inference_steps": 2, "guidance_scale": 4.0, "seed": 7, "output_type": "latent"}
PROMPT = "a red circle moving right"


@pytest.fixture
def pipe(small_model: Path) -> VidRDPipeline:
    pipe = quiet_pipeline(small_model)
    for name, parameter in pipe.unet.named_parameters():
        if "temp_attn.to_out" in name:
            torch.nn.init.constant_(parameter, 0.01)  # as if trained: fresh ones do nothing
    return pipe


def _latents(pipe: VidRDPipeline, **arguments: Any) -> torch.Tensor:
    latents: torch.Tensor = pipe(PROMPT, **QUICK | arguments).frames
    return latents


@pytest.mark.parametrize("kind", [AttnProcessor, AttnProcessor2_0])
def test_diffusers_processors_show_the_same_video(pipe: VidRDPipeline, kind: Any) -> None:
    plain = _latents(pipe)
    pipe.unet.set_attn_processor(kind())
    assert all(type(one) is kind for one in pipe.unet.attn_processors.values())
    torch.testing.assert_close(_latents(pipe), plain, atol=1e-4, rtol=1e-4)
    pipe.unet.set_default_attn_processor()
    assert torch.equal(_latents(pipe), plain)


def test_a_processor_of_ones_own_sees_every_attention(pipe: VidRDPipeline) -> None:
    """As those do that keep attention maps: by the layer's name, with the text states that it looks at."""
    seen: Counter[tuple[str, bool]] = Counter()

    class Seeing:
        def __init__(self, name: str, then: Any):
            self.name, self.then = name, then

        def __call__(
            self, attn: Any, hidden_states: Any, encoder_hidden_states: Any = None, attention_mask: Any = None
        ) -> Any:
            seen[self.name, encoder_hidden_states is not None] += 1
            return self.then(attn, hidden_states, encoder_hidden_states, attention_mask)

    plain, before = _latents(pipe), pipe.unet.attn_processors
    pipe.unet.set_attn_processor({name: Seeing(name, then) for name, then in before.items()})
    torch.testing.assert_close(_latents(pipe), plain, atol=1e-4, rtol=1e-4)
    assert seen == {(name, ".attn2." in name): 2 for name in before}
    kinds = {name.split(".")[-2] for name in before}
    assert kinds == {"attn1", "attn2", "temp_attn"}


def test_a_processor_that_is_set_in_between_gets_the_text_too(pipe: VidRDPipeline) -> None:
    plain, texts = _latents(pipe), []

    class Noting(AttnProcessor2_0):
        def __call__(
            self, attn: Any, hidden_states: Any, encoder_hidden_states: Any = None, **more: Any
        ) -> Any:
            texts.append(encoder_hidden_states is not None)
            return super().__call__(attn, hidden_states, encoder_hidden_states, **more)

    def switch(pipe: Any, step: int, timestep: Any, kwargs: dict[str, Any]) -> None:
        pipe.unet.set_attn_processor(Noting())

    torch.testing.assert_close(_latents(pipe, callback_on_step_end=switch), plain, atol=1e-4, rtol=1e-4)
    assert len(texts) == len(pipe.unet.attn_processors) and sum(texts) == len(texts) // 3


def test_fused_projections_show_the_same_video_and_come_apart(pipe: VidRDPipeline) -> None:
    plain, keys = _latents(pipe), set(pipe.unet.state_dict())
    frames = pipe(PROMPT, **QUICK | {"output_type": "np"}).frames
    pipe.fuse_qkv_projections()
    torch.testing.assert_close(_latents(pipe), plain, atol=1e-4, rtol=1e-4)
    assert np.abs(pipe(PROMPT, **QUICK | {"output_type": "np"}).frames - frames).max() < 1e-3
    pipe.unfuse_qkv_projections()
    assert torch.equal(_latents(pipe), plain) and set(pipe.unet.state_dict()) == keys


def test_freeu_of_one_frame_is_diffusers_and_of_a_video_frame_by_frame(pipe: VidRDPipeline) -> None:
    image = UNet2DConditionModel(
        block_out_channels=(32, 64),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=(1, 2),
        use_linear_projection=True,
    )
    random_weights(image, 1)
    video = TemporalUNet.from_image_unet(image.eval())
    frame, text = torch.randn(2, 4, 1, 8, 8), torch.randn(2, 5, 16)
    with torch.no_grad():
        plain = video(frame, 30, text).sample
        for unet in (image, video):
            unet.enable_freeu(s1=0.9, s2=0.2, b1=1.2, b2=1.4)
        freed = video(frame, 30, text).sample
        wanted = image(frame[:, :, 0], 30, text).sample[:, :, None]
    torch.testing.assert_close(freed, wanted, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(freed, plain, atol=1e-2)
    before = _latents(pipe)
    pipe.enable_freeu(s1=0.9, s2=0.2, b1=1.2, b2=1.4)
    assert not torch.allclose(_latents(pipe), before, atol=1e-2)
    pipe.disable_freeu()
    assert torch.equal(_latents(pipe), before)


def test_channels_last_is_for_kernels_over_frames_too(pipe: VidRDPipeline) -> None:
    plain = pipe(PROMPT, **QUICK | {"output_type": "np"}).frames
    for model in (pipe.unet, pipe.vae):
        assert model.to(torch.float32, memory_format=torch.channels_last) is model
        kernels = [one for one in model.parameters() if one.ndim in (4, 5)]
        formats = {4: torch.channels_last, 5: torch.channels_last_3d}
        assert {one.ndim for one in kernels} == {4, 5}
        assert all(one.is_contiguous(memory_format=formats[one.ndim]) for one in kernels)
    assert np.abs(pipe(PROMPT, **QUICK | {"output_type": "np"}).frames - plain).max() < 1e-3
    pipe.unet.to(memory_format=torch.contiguous_format)
    assert all(one.is_contiguous() for one in pipe.unet.parameters())
