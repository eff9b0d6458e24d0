"""Dropout keyed by clip: good chance, and nothing but clip, layer and element decides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.test_parity_unet import random_weights
from vidrd_model import TemporalUNet, TemporalVAE
from vidrd_model.dropout import KeyedDropout, dropout_keys, number_dropouts

SHAPE = (64, 4, 16, 16)
KEYS = torch.tensor([-(2**63), -1, 0, 1, 2, 2**63 - 1, 12345678901])


class _Two(nn.Module):
    def __init__(self, p: float):
        super().__init__()
        self.first, self.second = KeyedDropout(p), KeyedDropout(p)
        number_dropouts(self)


def _kept(layer: KeyedDropout, keys_b: torch.Tensor, shape: tuple[int, ...] = SHAPE) -> torch.Tensor:
    """1 where a value stays, (b, *shape), float64."""
    with dropout_keys(keys_b):
        return layer(torch.ones(len(keys_b), *shape)).ne(0).double()


def _unrelated(a: torch.Tensor, b: torch.Tensor) -> bool:
    correlation = torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1].item()
    return abs(correlation) < 5 / a.numel() ** 0.5


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_the_rate_is_right_for_every_key_and_values_keep_their_mean(p: float) -> None:
    kept = _kept(_Two(p).first, KEYS).flatten(1)
    error = (kept.mean(1) - (1 - p)).abs().max().item()
    assert error < 5 * (p * (1 - p) / kept.shape[1]) ** 0.5
    # Blocks of 256 values scatter as independent draws do: neither too even nor in clumps.
    scatter = kept.unflatten(1, (-1, 256)).sum(2).var().item() / (256 * p * (1 - p))
    assert 0.9 < scatter < 1.1
    with dropout_keys(KEYS):
        values = _Two(p).first(torch.ones(len(KEYS), *SHAPE))
    assert values.unique().tolist() == pytest.approx([0, 1 / (1 - p)], rel=1e-3)


def test_neighbours_layers_and_keys_have_nothing_to_do_with_one_another() -> None:
    model = _Two(0.5)
    first, second = _kept(model.first, KEYS), _kept(model.second, KEYS)
    assert _unrelated(first, second)
    for a in range(len(KEYS)):
        assert all(_unrelated(first[a], first[b]) for b in range(a))
        for axis in range(len(SHAPE)):
            for step in (1, 2, 3):
                end = SHAPE[axis] - step
                assert _unrelated(first[a].narrow(axis, step, end), first[a].narrow(axis, 0, end))
    # Keys that differ in one bit each: every element falls with the chance p, on its own.
    one_bit = _kept(model.first, torch.ones(63, dtype=torch.int64) << torch.arange(63), (32, 8, 8))
    assert one_bit.mean(0).var().item() == pytest.approx(0.25 / 63, rel=0.15)


def test_neither_batch_nor_place_nor_memory_changes_a_mask() -> None:
    layer = _Two(0.3).first
    alone = torch.cat([_kept(layer, key[None]) for key in KEYS])
    order = torch.randperm(len(KEYS))
    assert torch.equal(_kept(layer, KEYS[order]), alone[order])
    x = torch.randn(len(KEYS), *SHAPE)
    with dropout_keys(KEYS):
        dropped = layer(x)
        assert torch.equal(layer(x.contiguous(memory_format=torch.channels_last_3d)), dropped)
        odd = layer(x[:, :3, :1, :3, :3])  # 27 values are no whole words
    assert odd.shape == (len(KEYS), 3, 1, 3, 3) and 0 < odd.eq(0).double().mean() < 1


def test_frames_folded_into_the_batch_go_with_their_clip() -> None:
    layer, keys = _Two(0.3).first, KEYS[:2]
    with dropout_keys(keys):
        both = layer(torch.ones(6, 8, 4, 4))
    with dropout_keys(keys[1:]):
        assert torch.equal(layer(torch.ones(3, 8, 4, 4)), both[3:])
    assert not torch.equal(both[:1], both[1:2])


def test_without_keys_it_is_ordinary_dropout_and_in_eval_nothing() -> None:
    layer, x = KeyedDropout(0.3), torch.randn(4, 32)
    torch.manual_seed(0)
    first = layer(x)
    torch.manual_seed(0)
    assert torch.equal(first, nn.functional.dropout(x, 0.3))
    with dropout_keys(KEYS[:4]):
        assert layer.eval()(x) is x
        assert KeyedDropout(0.0)(x) is x
        with dropout_keys(None):
            assert not torch.equal(layer.train()(x), layer(x))


@pytest.mark.parametrize("keys", [torch.zeros(2, 1, dtype=torch.int64), torch.zeros(2)])
def test_wrong_keys_are_refused(keys: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="dropout keys"), dropout_keys(keys):
        pass
    with pytest.raises(ValueError, match="do not fit"), dropout_keys(KEYS[:2]):
        KeyedDropout(0.5)(torch.ones(3, 4))


def tiny_unet(**settings: Any) -> TemporalUNet:
    """A small UNet with dropout in every resnet, random weights, in training mode."""
    unet = TemporalUNet(
        block_out_channels=(32, 64),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        attention_head_dim=2,
        layers_per_block=1,
        cross_attention_dim=16,
        dropout=0.2,
        **settings,
    )
    random_weights(unet, 1)
    return unet.train()


@torch.no_grad()
def test_a_clip_meets_the_same_masks_in_every_batch_and_copy_of_the_unet(tmp_path: Path) -> None:
    unet = tiny_unet()
    sample, text, steps = torch.randn(3, 4, 3, 8, 8), torch.randn(3, 5, 16), torch.tensor([1, 500, 900])
    with dropout_keys(KEYS[:3]):
        together = unet(sample, steps, text).sample
        assert torch.equal(unet(sample, steps, text).sample, together)
    unet.save_pretrained(tmp_path)
    loaded = TemporalUNet.from_pretrained(tmp_path).train()
    for i in range(3):
        with dropout_keys(KEYS[i : i + 1]):
            alone = loaded(sample[i : i + 1], steps[i : i + 1], text[i : i + 1]).sample
        torch.testing.assert_close(alone, together[i : i + 1], atol=2e-5, rtol=1e-4)
    with dropout_keys(KEYS[3:6]):
        assert (unet(sample, steps, text).sample - together).abs().max() > 1e-2


@torch.no_grad()
def test_a_clip_meets_the_same_masks_in_every_batch_of_the_decoder() -> None:
    vae = TemporalVAE(block_out_channels=(32,), layers_per_block=1).train()
    random_weights(vae, 2)
    z = torch.randn(2, 3, 4, 8, 8)
    with dropout_keys(KEYS[:2]):
        both = vae.decode(z.flatten(0, 1), num_frames=3).sample
    with dropout_keys(KEYS[1:2]):
        alone = vae.decode(z[1], num_frames=3).sample
    torch.testing.assert_close(alone, both[3:], atol=2e-5, rtol=1e-4)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_draws_the_masks_of_a_cpu_compiled_or_not() -> None:
    layer, x = _Two(0.3).first, torch.ones(4, 64, 8, 16, 16)
    keys_b = KEYS[:4]
    with dropout_keys(keys_b):
        wanted, eager = layer(x), layer.cuda()(x.cuda())
        compiled = torch.compile(layer)(x.cuda())
    assert torch.equal(eager.cpu(), wanted) and torch.equal(compiled, eager)
