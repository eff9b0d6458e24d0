"""LoRA layers beside what a pipeline does to need less memory, and adapters that change while a video is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import PipelineQuantizationConfig, TorchAoConfig
from diffusers.models.attention_processor import AttnProcessor2_0

from tests.lora_files import peft_file, random_lora
from tests.quiet_pipeline import quiet_pipeline
from vidrd_model import ModelError, VidRDPipeline

QUICK: dict[str, Any] = {"num_inference_steps": 2, "guidance_scale": 4.0, "seed": 7, "output_type": "uint8"}
PROMPT = "a red circle moving right"


@pytest.fixture
def pipe(small_model: Path) -> VidRDPipeline:
    return quiet_pipeline(small_model)


@pytest.fixture(scope="module")
def lora(small_model: Path) -> dict[str, torch.Tensor]:
    """Of linear layers of the UNet, those that project the text among them, and of the text encoder."""
    pipe = quiet_pipeline(small_model)
    unet = random_lora(pipe.unet, 1, lambda name: "temp_" not in name and ".attn" in name)
    text = random_lora(pipe.text_encoder, 2, lambda name: "q_proj" in name)
    return peft_file(unet, text)


@pytest.fixture(scope="module")
def wanted(small_model: Path, lora: dict[str, torch.Tensor]) -> np.ndarray:
    pipe = quiet_pipeline(small_model)
    plain = pipe(PROMPT, **QUICK).frames
    pipe.load_lora_weights(lora)
    frames: np.ndarray = pipe(PROMPT, **QUICK).frames
    assert np.abs(frames - plain.astype(int)).mean() > 3
    return frames


OFFLOADS = {
    "model": lambda pipe, folder: pipe.enable_model_cpu_offload(device="cpu"),
    "sequential": lambda pipe, folder: pipe.enable_sequential_cpu_offload(device="cpu"),
    "group": lambda pipe, folder: pipe.enable_group_offload(
        onload_device=torch.device("cpu"), offload_type="leaf_level"
    ),
}


def _same(frames: np.ndarray, wanted: np.ndarray) -> None:
    """Up to the last bit: with group offloading the text is projected in every step."""
    assert np.abs(frames - wanted.astype(int)).max() <= 1


@pytest.mark.parametrize("first", ["lora", "offload"])
@pytest.mark.parametrize("offload", OFFLOADS)
def test_offloaded_layers_bring_their_lora(
    pipe: VidRDPipeline,
    lora: dict[str, torch.Tensor],
    wanted: np.ndarray,
    tmp_path: Path,
    offload: str,
    first: str,
) -> None:
    if first == "lora":
        pipe.load_lora_weights(lora)
    OFFLOADS[offload](pipe, tmp_path)
    if first == "offload":
        pipe.load_lora_weights(lora)
    _same(pipe(PROMPT, **QUICK).frames, wanted)
    pipe.unload_lora_weights()
    assert not np.array_equal(pipe(PROMPT, **QUICK).frames, wanted)


def test_weights_in_files_bring_theirs_and_let_none_come_or_go(
    pipe: VidRDPipeline, lora: dict[str, torch.Tensor], wanted: np.ndarray, tmp_path: Path
) -> None:
    pipe.load_lora_weights(lora)
    how = {"offload_type": "leaf_level", "offload_to_disk_path": str(tmp_path)}
    pipe.enable_group_offload(onload_device=torch.device("cpu"), **how)
    _same(pipe(PROMPT, **QUICK).frames, wanted)
    for change in (pipe.unload_lora_weights, lambda: pipe.load_lora_weights(lora, adapter_name="two")):
        with pytest.raises(ModelError, match="before enable_group_offload"):
            change()
    _same(pipe(PROMPT, **QUICK).frames, wanted)


@pytest.mark.parametrize("moved", ["before", "after"])
def test_in_half_precision(
    pipe: VidRDPipeline, lora: dict[str, torch.Tensor], wanted: np.ndarray, moved: str
) -> None:
    if moved == "before":
        pipe.to(torch.float16)
    pipe.load_lora_weights(lora)
    if moved == "after":
        pipe.to(torch.float16)
    assert {parameter.dtype for parameter in pipe.unet.parameters()} == {torch.float16}
    assert np.abs(pipe(PROMPT, **QUICK).frames - wanted.astype(int)).mean() < 3


def test_beside_a_base_of_eight_bits(
    small_model: Path, lora: dict[str, torch.Tensor], wanted: np.ndarray
) -> None:
    torchao = pytest.importorskip("torchao.quantization")
    int8 = PipelineQuantizationConfig(quant_mapping={"unet": TorchAoConfig(torchao.Int8WeightOnlyConfig())})
    pipe = quiet_pipeline(small_model, quantization_config=int8)
    pipe.load_lora_weights(lora)
    assert np.abs(pipe(PROMPT, **QUICK).frames - wanted.astype(int)).mean() < 3


def _switched(pipe: VidRDPipeline, **settings: Any) -> torch.Tensor:
    """Two clips whose adapter counts half from the second clip's first step on."""

    def switch(pipe: Any, step: int, timestep: Any, kwargs: dict[str, Any]) -> None:
        if (kwargs["clip"], step) == (1, 0):
            pipe.set_adapters("one", 0.5)

    pipe.set_adapters("one", 1.0)
    asked = QUICK | {"num_inference_steps": 3, "output_type": "latent", "callback_on_step_end": switch}
    latents: torch.Tensor = pipe(PROMPT, 2, **asked | settings).frames
    return latents


def test_adapters_that_change_within_a_video_change_the_projected_text(
    pipe: VidRDPipeline, lora: dict[str, torch.Tensor]
) -> None:
    """As with a processor of diffusers, which projects the text anew in every step."""
    of_the_text = {key: value for key, value in lora.items() if ".attn2.to_k" in key or ".attn2.to_v" in key}
    pipe.load_lora_weights(of_the_text, adapter_name="one")
    changed = _switched(pipe)
    stays = _switched(pipe, callback_on_step_end=None)
    assert torch.equal(changed[:, :, :8], stays[:, :, :8]) and not torch.allclose(changed, stays, atol=1e-2)
    pipe.unet.set_attn_processor(AttnProcessor2_0())
    torch.testing.assert_close(_switched(pipe), changed, atol=1e-4, rtol=1e-4)


def test_weights_that_a_callback_sets_stay_where_a_call_is_scaled(
    pipe: VidRDPipeline, lora: dict[str, torch.Tensor]
) -> None:
    pipe.load_lora_weights(lora, adapter_name="one")
    _switched(pipe, attention_kwargs={"scale": 0.25})
    layer = pipe.unet.mid_block.attentions[0].transformer_blocks[0].attn2.to_k
    assert layer.scaling == {"one": 0.5}


def test_between_two_clips_another_adapter_tells_the_text_anew(
    pipe: VidRDPipeline, lora: dict[str, torch.Tensor]
) -> None:
    """Of the text encoder too, whose states are kept while a text stays."""
    asked = QUICK | {"output_type": "latent"}
    pipe.load_lora_weights({key: value for key, value in lora.items() if "text" in key}, adapter_name="one")
    plain = pipe(PROMPT, 2, **asked).frames
    stream = pipe.stream(PROMPT, 2, **asked)
    assert torch.equal(next(stream), plain[:, :, :8])
    pipe.disable_lora()
    assert not torch.equal(next(stream), plain[:, :, 8:])
