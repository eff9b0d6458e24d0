"""Gradient checkpointing in every block of the UNet and of the decoder: less is kept, nothing else changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
import torch
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from torch.autograd.graph import saved_tensors_hooks

from tests.test_dropout import KEYS, tiny_unet
from tests.test_parity_unet import random_weights
from vidrd_model import TemporalUNet, TemporalVAE
from vidrd_model.dropout import dropout_keys
from vidrd_model.temporal_layers import TempConv

Outcome = tuple[torch.Tensor, dict[str, torch.Tensor], int]


def _vae() -> TemporalVAE:
    vae = TemporalVAE(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(32, 32),
        layers_per_block=1,
    )
    random_weights(vae, 4)
    return vae.train()


def _outcome(model: TemporalUNet | TemporalVAE, forward: Callable[[], torch.Tensor]) -> Outcome:
    """Output, gradients of what is trained, and the bytes that autograd keeps after the forward pass."""
    kept: dict[int, int] = {}

    def keep(x: torch.Tensor) -> torch.Tensor:
        storage = x.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return x

    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
    with saved_tensors_hooks(keep, lambda x: x):
        out = forward()
    # Outside the block that set the keys, as in training: what is recomputed must still find them.
    out.square().mean().backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return out.detach(), gradients, sum(size for at, size in kept.items() if at not in parameters)


def _unet_pass(unet: TemporalUNet, keyed: bool) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    sample, text = (torch.randn(s, generator=generator) for s in ((2, 4, 3, 8, 8), (2, 5, 16)))
    with dropout_keys(KEYS[:2] if keyed else None):
        return unet(sample, torch.tensor([10, 700]), text).sample


def _decoder_pass(vae: TemporalVAE, keyed: bool) -> torch.Tensor:
    z = torch.randn(6, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    with dropout_keys(KEYS[:2] if keyed else None):
        return vae.decode(z, num_frames=3).sample


def _assert_same(plain: Outcome, checkpointed: Outcome) -> None:
    assert torch.equal(plain[0], checkpointed[0])
    assert plain[1].keys() == checkpointed[1].keys() and plain[1]
    for name, gradient in plain[1].items():
        torch.testing.assert_close(checkpointed[1][name], gradient, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize("trainable", ["temporal", "all"])
def test_the_unet_computes_the_same_and_keeps_less(trainable: str, keyed: bool) -> None:
    unet, outcomes = tiny_unet(), []
    unet.set_trainable(trainable)
    for checkpointing in (False, True):
        if checkpointing:
            unet.enable_gradient_checkpointing()
        torch.manual_seed(0)  # dropout without keys
        outcomes.append(_outcome(unet, lambda: _unet_pass(unet, keyed)))
    _assert_same(*outcomes)
    assert outcomes[1][2] < 0.3 * outcomes[0][2]


@pytest.mark.parametrize("keyed", [True, False])
def test_the_decoder_computes_the_same_and_keeps_less(keyed: bool) -> None:
    vae, outcomes = _vae(), []
    vae.set_trainable_temporal()
    for checkpointing in (False, True):
        if checkpointing:
            vae.enable_gradient_checkpointing()
        torch.manual_seed(0)
        outcomes.append(_outcome(vae, lambda: _decoder_pass(vae, keyed)))
    _assert_same(*outcomes)
    assert outcomes[1][2] < 0.3 * outcomes[0][2]


@pytest.mark.parametrize(
    "part", ["down_blocks.0", "down_blocks.1", "mid_block", "up_blocks.0", "up_blocks.1"]
)
def test_every_block_of_the_unet_keeps_less(part: str) -> None:
    unet = tiny_unet()
    plain = _outcome(unet, lambda: _unet_pass(unet, True))[2]
    unet.enable_gradient_checkpointing()
    everything = _outcome(unet, lambda: _unet_pass(unet, True))[2]
    unet.get_submodule(part).gradient_checkpointing = False
    without_part = _outcome(unet, lambda: _unet_pass(unet, True))[2]
    assert 1.1 * everything < without_part < plain


def test_every_layer_of_the_decoder_runs_again_in_the_backward_pass() -> None:
    vae, runs = _vae(), Counter[str]()
    vae.enable_gradient_checkpointing()
    kinds = (ResnetBlock2D, Attention, TempConv, Upsample2D)
    layers = [name for name, module in vae.decoder.named_modules() if isinstance(module, kinds)]
    for name in layers:
        vae.decoder.get_submodule(name).register_forward_pre_hook(lambda *_, name=name: runs.update([name]))
    _outcome(vae, lambda: _decoder_pass(vae, True))
    assert len(layers) == 2 + 1 + 4 + 4 + 1 and runs == dict.fromkeys(layers, 2)
