"""Training in bfloat16, frozen weights cast and trained ones in float32, and compiled, beside float32 in eager mode."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.test_checkpointing import _decoder_pass, _unet_pass, _vae
from tests.test_dropout import tiny_unet
from vidrd_model.blocks import BLOCKS
from vidrd_model.compiling import compile_blocks

Passes = tuple[nn.Module, Callable[[], torch.Tensor]]


def _unet() -> Passes:
    unet = tiny_unet()
    unet.set_trainable("temporal")
    return unet, lambda: _unet_pass(unet, keyed=True)


def _decoder() -> Passes:
    vae = _vae()
    vae.set_trainable_temporal()
    return vae, lambda: _decoder_pass(vae, keyed=True)


def _losses(parameters: Iterable[nn.Parameter], forward: Callable[[], torch.Tensor]) -> list[float]:
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3)
    losses = []
    for _ in range(3):
        out = forward().float()
        loss = F.mse_loss(out, torch.linspace(-1, 1, out.numel()).view_as(out))
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None and p.grad.dtype == p.dtype == torch.float32 for p in trained)
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("make", [_unet, _decoder])
def test_bfloat16_trains_close_to_float32(make: Callable[[], Passes], checkpointing: bool) -> None:
    model, forward = make()
    wanted = _losses(model.parameters(), forward)
    model, forward = make()
    if checkpointing:
        model.enable_gradient_checkpointing()
    for parameter in model.parameters():
        if not parameter.requires_grad:
            parameter.data = parameter.data.bfloat16()

    def in_bfloat16() -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return forward()

    losses = _losses(model.parameters(), in_bfloat16)
    assert losses == pytest.approx(wanted, rel=0.03) and losses != wanted
    assert losses[-1] < losses[0]


@pytest.mark.slow
@pytest.mark.parametrize("checkpointing", [False, True])
def test_compiled_training_computes_the_same(checkpointing: bool) -> None:
    unet, forward = _unet()
    wanted = _losses(unet.parameters(), forward)
    unet, forward = _unet()
    if checkpointing:
        unet.enable_gradient_checkpointing()
    compile_blocks(unet, BLOCKS)
    assert _losses(unet.parameters(), forward) == pytest.approx(wanted, rel=1e-4)
