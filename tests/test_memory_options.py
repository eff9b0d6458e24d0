"""Less memory, the same video: offloading, casting, slices and tiles, half precision, quantised weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.hooks import ModelHook, add_hook_to_module

from tests.quiet_pipeline import quiet_pipeline
from vidrd_model import VidRDPipeline
from vidrd_model.baselines import stream_freenoise, stream_overlap
from vidrd_model.noise import clip_noise

PROMPTS = ["a red circle moving right", "a blue square moving up"]
STORY = [[PROMPTS[0], PROMPTS[1]]]
QUICK: dict[str, Any] = {"num_inference_steps": 2, "guidance_scale": 4.0, "seed": 7, "output_type": "uint8"}
CPU = torch.device("cpu")


def _pipe(folder: Path, **loading: Any) -> VidRDPipeline:
    pipe = quiet_pipeline(folder, **loading)
    for name, parameter in pipe.vae.named_parameters():
        if "temp_" in name:
            torch.nn.init.constant_(parameter, 0.01)  # as if trained: fresh ones do nothing
    return pipe


@pytest.fixture
def pipe(small_model: Path) -> VidRDPipeline:
    return _pipe(small_model)


@pytest.fixture(scope="module")
def wanted(small_model: Path) -> np.ndarray:
    return _pipe(small_model)(STORY, 2, **QUICK).frames


def _group_offload(pipe: VidRDPipeline, folder: Path, **how: Any) -> None:
    """Weights lie in files until they are needed, so that on a CPU too they are not there in between."""
    pipe.enable_group_offload(onload_device=CPU, offload_to_disk_path=str(folder), **how)
    _spoil(pipe)


def _spoil(pipe: VidRDPipeline) -> None:
    """Leaves no weight in memory that a missed hook could find there by luck."""
    for model in (pipe.unet, pipe.vae, pipe.text_encoder):
        for parameter in model.parameters():
            parameter.data.fill_(torch.nan)


OPTIONS = {
    "vae slicing": lambda pipe, folder: pipe.enable_vae_slicing(),
    "vae tiling of what is one tile": lambda pipe, folder: pipe.enable_vae_tiling(),
    "model offload": lambda pipe, folder: pipe.enable_model_cpu_offload(device="cpu"),
    "sequential offload": lambda pipe, folder: pipe.enable_sequential_cpu_offload(device="cpu"),
    "group offload by leaf": lambda pipe, folder: _group_offload(pipe, folder, offload_type="leaf_level"),
    "group offload by block": lambda pipe, folder: _group_offload(
        pipe, folder, offload_type="block_level", num_blocks_per_group=1
    ),
    "layerwise casting to itself": lambda pipe, folder: pipe.enable_layerwise_casting(torch.float32),
}


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_changes_no_pixel(
    pipe: VidRDPipeline, wanted: np.ndarray, tmp_path: Path, option: str
) -> None:
    OPTIONS[option](pipe, tmp_path)
    assert np.array_equal(pipe(STORY, 2, **QUICK).frames, wanted)
    if "group" in option:
        _spoil(pipe)
    assert np.array_equal(pipe(STORY, 2, **QUICK).frames, wanted)  # the models are as they were after a call


@pytest.mark.parametrize("option", ["model offload", "sequential offload", "group offload by block"])
def test_every_other_way_through_a_pipeline_finds_its_weights(
    pipe: VidRDPipeline, small_model: Path, tmp_path: Path, option: str
) -> None:
    def ways(pipe: VidRDPipeline) -> list[Any]:
        text = pipe.encode_prompt(PROMPTS[:1])
        noise = [clip_noise([7], PROMPTS[:1], clip, (4, 8, 4, 4)) for clip in range(2)]
        (*_, latents) = pipe.sample_latents(
            text,
            pipe.encode_prompt([""]),
            initial_noise=noise[0],
            fresh_noise=noise[1:],
            num_inference_steps=2,
            guidance_scale=4.0,
        )
        streams = [
            list(stream(pipe, PROMPTS[0], 2, **QUICK)) for stream in (stream_overlap, stream_freenoise)
        ]
        return [text, latents, pipe.decode_latents(latents), *streams[0], *streams[1]]

    plain = ways(_pipe(small_model))
    OPTIONS[option](pipe, tmp_path)
    for got, want in zip(ways(pipe), plain, strict=True):
        assert np.array_equal(np.asarray(got), np.asarray(want))


def test_weights_are_away_between_calls(pipe: VidRDPipeline, small_model: Path, tmp_path: Path) -> None:
    pipe.enable_sequential_cpu_offload(device="cpu")
    pipe(PROMPTS[0], **QUICK)
    for model in (pipe.unet, pipe.vae, pipe.text_encoder):
        assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
    pipe.remove_all_hooks()
    assert {parameter.device.type for parameter in pipe.unet.parameters()} == {"cpu"}


def test_what_is_called_beside_forward_fires_the_hook_of_its_model(pipe: VidRDPipeline) -> None:
    class Note(ModelHook):
        def pre_forward(self, module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
            fired.append(type(module).__name__)
            return args, kwargs

    fired: list[str] = []
    for model in (pipe.unet, pipe.vae):
        add_hook_to_module(model, Note())
    pipe.unet.project_text(pipe.encode_prompt(PROMPTS))
    pipe.vae.decode(torch.zeros(8, 4, 8, 8), num_frames=8)
    pipe.vae.encode(torch.zeros(1, 3, 64, 64))
    assert fired == ["TemporalUNet", "TemporalVAE", "TemporalVAE"]


def test_with_model_offload_one_model_is_on_the_device_at_a_time(pipe: VidRDPipeline) -> None:
    """Of each clip, too: the decoder of the last one does not stay beside the UNet."""
    pipe.enable_model_cpu_offload(device="cpu")
    away: list[str] = []
    for hook in pipe._all_hooks:
        offload = hook.offload
        hook.offload = lambda hook=hook, offload=offload: (away.append(type(hook.model).__name__), offload())
    stream = pipe.stream(PROMPTS[0], 2, **QUICK)
    next(stream)
    assert set(away[-3:]) == {"CLIPTextModel", "TemporalUNet", "TemporalVAE"}
    stream.close()


def test_tiles_bound_what_the_decoder_sees(pipe: VidRDPipeline) -> None:
    whole = pipe(PROMPTS[0], height=64, width=64, **QUICK).frames.astype(int)
    pipe.enable_vae_tiling()
    seen: list[int] = []
    pipe.vae.decoder.conv_in.register_forward_pre_hook(
        lambda module, inputs: seen.append(inputs[0].shape[-1])
    )
    tiled = pipe(PROMPTS[0], height=64, width=64, **QUICK).frames
    assert len(seen) > 1 and max(seen) <= pipe.vae.tile_latent_min_size < 16
    assert tiled.shape == whole.shape
    pipe.disable_vae_tiling()
    assert np.array_equal(pipe(PROMPTS[0], height=64, width=64, **QUICK).frames, whole)


def test_weights_of_eight_bits_show_the_same_video(pipe: VidRDPipeline, wanted: np.ndarray) -> None:
    pipe.enable_layerwise_casting()
    stored = [parameter.dtype for parameter in pipe.unet.parameters()]
    assert torch.float8_e4m3fn in stored and pipe.unet.dtype == torch.float32
    frames = pipe(STORY, 2, **QUICK).frames
    assert 0 < np.abs(frames - wanted.astype(int)).mean() < 12


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_pipeline_is_moved_to_another_precision(
    pipe: VidRDPipeline, small_model: Path, dtype: torch.dtype
) -> None:
    small = QUICK | {"num_frames": 4, "prompt_frames": 2}  # a CPU takes its time
    wanted = pipe(STORY, 2, **small).frames
    moved = pipe.to(dtype)
    assert moved is pipe
    assert {pipe.unet.dtype, pipe.vae.dtype, pipe.text_encoder.dtype, pipe.dtype} == {dtype}
    frames = pipe(STORY, 2, **small).frames
    assert np.abs(frames - wanted.astype(int)).mean() < 6
    assert np.array_equal(frames, _pipe(small_model, dtype=dtype)(STORY, 2, **small).frames)
    text, negative = pipe.encode_prompt(PROMPTS[0], "cpu", 1, True)
    given = pipe(None, prompt_embeds=text.float(), negative_prompt_embeds=negative.float(), **small).frames
    assert np.array_equal(
        given, pipe(None, prompt_embeds=text, negative_prompt_embeds=negative, **small).frames
    )
