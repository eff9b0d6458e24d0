"""Weights of the frozen base in 8 and 4 bits, by diffusers' own configurations: what is saved, and what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import BitsAndBytesConfig, PipelineQuantizationConfig, TorchAoConfig
from torch import nn

from tests.quiet_pipeline import quiet_pipeline

QUICK: dict[str, Any] = {"num_inference_steps": 4, "guidance_scale": 4.0, "seed": 7, "output_type": "uint8"}
PROMPT = "a red circle moving right"


def _int8() -> PipelineQuantizationConfig:
    torchao = pytest.importorskip("torchao.quantization")
    return PipelineQuantizationConfig(quant_mapping={"unet": TorchAoConfig(torchao.Int8WeightOnlyConfig())})


def _bytes(model: nn.Module) -> int:
    """Of all weights; a quantised one is made of several tensors."""
    inner = [
        [getattr(one, name) for name in one.__tensor_flatten__()[0]]
        if hasattr(one, "__tensor_flatten__")
        else [one]
        for one in model.parameters()
    ]
    return sum(tensor.nbytes for tensors in inner for tensor in tensors)


def test_int8_weights_save_what_their_linear_layers_weigh(small_model: Path) -> None:
    whole, quantised = quiet_pipeline(small_model), quiet_pipeline(small_model, quantization_config=_int8())
    linear = [module for module in whole.unet.modules() if isinstance(module, nn.Linear)]
    weights, rows = sum(one.weight.numel() for one in linear), sum(one.out_features for one in linear)
    saved = _bytes(whole.unet) - _bytes(quantised.unet)
    assert 3 * weights - 8 * rows <= saved < 3 * weights  # of four bytes; what scales a row takes its own
    convolutions = [module for module in quantised.unet.modules() if isinstance(module, nn.Conv2d)]
    assert convolutions and all(type(module.weight) is nn.Parameter for module in convolutions)
    assert quantised.unet.dtype == torch.float32


def test_int8_weights_show_the_same_video(small_model: Path) -> None:
    whole, quantised = quiet_pipeline(small_model), quiet_pipeline(small_model, quantization_config=_int8())
    wanted = whole(PROMPT, 2, **QUICK).frames
    frames = quantised(PROMPT, 2, **QUICK).frames
    assert 0 < np.abs(frames - wanted.astype(int)).mean() < 1
    quantised.enable_model_cpu_offload(device="cpu")
    assert np.array_equal(quantised(PROMPT, 2, **QUICK).frames, frames)


@pytest.mark.gpu
@pytest.mark.parametrize("bits", [8, 4])
def test_bitsandbytes_shows_the_same_scene(small_model: Path, bits: int) -> None:
    pytest.importorskip("bitsandbytes")
    half = quiet_pipeline(small_model, dtype=torch.float16).to("cuda")
    how = {8: {"load_in_8bit": True}, 4: {"load_in_4bit": True, "bnb_4bit_compute_dtype": torch.float16}}[
        bits
    ]
    config = PipelineQuantizationConfig(quant_mapping={"unet": BitsAndBytesConfig(**how)})
    quantised = quiet_pipeline(small_model, dtype=torch.float16, quantization_config=config).to("cuda")
    assert _bytes(quantised.unet) < _bytes(half.unet)
    wanted = half(PROMPT, 2, **QUICK).frames.astype(int)
    assert np.abs(quantised(PROMPT, 2, **QUICK).frames - wanted).mean() < 12


@pytest.mark.gpu
def test_four_bits_of_torchao_show_the_same_scene(small_model: Path) -> None:
    torchao = pytest.importorskip("torchao.quantization")
    config = PipelineQuantizationConfig(
        quant_mapping={"unet": TorchAoConfig(torchao.Int4WeightOnlyConfig(group_size=32))}
    )
    half = quiet_pipeline(small_model, dtype=torch.bfloat16).to("cuda")
    quantised = quiet_pipeline(small_model, dtype=torch.bfloat16, quantization_config=config).to("cuda")
    wanted = half(PROMPT, 2, **QUICK).frames.astype(int)
    assert np.abs(quantised(PROMPT, 2, **QUICK).frames - wanted).mean() < 12
