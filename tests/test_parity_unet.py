"""The fast UNet against a plain one (`plain_unet.py`), over random configurations with random weights."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from tests.plain_unet import plain_unet
from vidrd_model import TemporalUNet

CASES = 16


def random_weights(model: torch.nn.Module, seed: int) -> None:
    """Seeded weights by the rules of the goldens, those of layers that start at zero included."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            draw = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() > 1:
                parameter.copy_(draw * 0.9 / math.sqrt(parameter[0].numel()))
            elif name.endswith("weight"):
                parameter.copy_(1 + 0.1 * draw)
            else:
                parameter.copy_(0.05 * draw)


def random_case(seed: int) -> tuple[dict[str, Any], tuple[int, int, int]]:
    """A configuration of the Stable Diffusion 2 family, and frames, height and width of a latent."""
    rng = np.random.default_rng(seed)
    levels = int(rng.integers(1, 4))
    widths = [int(rng.choice([32, 64, 96])) for _ in range(levels)]
    attention = [bool(rng.integers(2)) for _ in range(levels)]
    config = {
        "block_out_channels": widths,
        "layers_per_block": int(rng.integers(1, 4)),
        "attention_head_dim": [int(rng.choice([1, 2, 4, 8])) for _ in widths],
        "cross_attention_dim": int(rng.choice([16, 40])),
        "norm_num_groups": int(rng.choice([8, 16, 32])),
        "norm_eps": float(rng.choice([1e-5, 1e-6])),
        "use_linear_projection": bool(rng.integers(2)),
        "transformer_layers_per_block": int(rng.integers(1, 3)),
        "downsample_padding": int(rng.integers(0, 2)),
        "flip_sin_to_cos": bool(rng.integers(2)),
        "freq_shift": int(rng.integers(0, 2)),
        "down_block_types": ["CrossAttnDownBlock2D" if a else "DownBlock2D" for a in attention],
        "up_block_types": ["CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attention)],
        "frame_embedding": ["attention", "residual", "none"][seed % 3],
        "temp_conv": seed % 5 != 0,
        "temp_attention": seed % 7 != 0,
    }
    return config, (1 + seed % 8, int(rng.integers(5, 14)), int(rng.integers(5, 14)))


@pytest.mark.parametrize("seed", range(CASES))
@torch.no_grad()
def test_the_fast_unet_equals_the_plain_one(seed: int) -> None:
    config, (n, h, w) = random_case(seed)
    unet = TemporalUNet(**config).eval()
    random_weights(unet, seed)
    generator = torch.Generator().manual_seed(seed)
    sample = torch.randn((2, 4, n, h, w), generator=generator)
    timestep = torch.randint(0, 1000, (2,), generator=generator)
    text = torch.randn((2, 5, config["cross_attention_dim"]), generator=generator)
    wanted = plain_unet(unet.config, unet.state_dict(), sample, timestep, text)
    for states in (text, unet.project_text(text)):
        torch.testing.assert_close(unet(sample, timestep, states).sample, wanted, atol=1e-4, rtol=1e-4)


def test_training_and_sampling_compute_the_same() -> None:
    """Gradients switch the paths that save memory on a CPU off: both must agree."""
    config, (_, h, w) = random_case(3)
    unet = TemporalUNet(**config).eval()
    random_weights(unet, 3)
    sample, text = torch.randn(1, 4, 3, h, w), torch.randn(1, 5, config["cross_attention_dim"])
    with_gradients = unet(sample, 10, text).sample
    with_gradients.square().mean().backward()
    assert all(parameter.grad is not None for parameter in unet.parameters())
    with torch.no_grad():
        torch.testing.assert_close(
            unet(sample, 10, text).sample, with_gradients.detach(), atol=1e-5, rtol=1e-5
        )
