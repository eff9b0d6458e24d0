"""Decoding with the temporal decoder in windows, tiles and slices, and what a fresh decoder equals."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL

from tests.test_parity_unet import random_weights
from vidrd_model import TemporalVAE, VidRDPipeline

FRAMES = 8


def _vae(**settings: Any) -> TemporalVAE:
    vae = TemporalVAE(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(32, 32),
        layers_per_block=1,
        sample_size=16,
        **settings,
    ).eval()
    random_weights(vae, 4)
    return vae


def _latents(frames: int, size: int = 8, videos: int = 2) -> torch.Tensor:
    return torch.randn((videos * frames, 4, size, size), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_longer_clips_are_decoded_in_the_trained_window() -> None:
    whole, windowed = _vae(), _vae(decode_window=FRAMES)
    z = _latents(20)
    wanted = []
    for video in z.split(20):
        parts = [whole.decode(video[i : i + FRAMES], num_frames=FRAMES).sample for i in (0, 8, 12)]
        wanted += [parts[0], parts[1], parts[2][4:]]
    decoded = windowed.decode(z, num_frames=20).sample
    torch.testing.assert_close(decoded, torch.cat(wanted), atol=1e-5, rtol=1e-5)
    assert (decoded - whole.decode(z, num_frames=20).sample).abs().max() > 1e-3
    short = z[:FRAMES]
    torch.testing.assert_close(
        windowed.decode(short, num_frames=FRAMES).sample, whole.decode(short, num_frames=FRAMES).sample
    )


@torch.no_grad()
def test_tiles_and_slices_take_all_frames_of_a_window_at_once() -> None:
    vae, seen = _vae(), []
    z = _latents(FRAMES, size=20)
    whole = vae.decode(z, num_frames=FRAMES).sample
    vae.enable_tiling()
    vae.enable_slicing()
    inside = vae._decode_frames
    vae._decode_frames = lambda tile, num_frames: seen.append(tile.shape) or inside(tile, num_frames)
    tiled = vae.decode(z, num_frames=FRAMES).sample
    assert tiled.shape == whole.shape and torch.isfinite(tiled).all()
    assert set(seen) == {(FRAMES, 4, 8, 8)} and len(seen) == 2 * 3 * 3
    # Norms see a tile instead of the picture, so pixels differ a little; no seam may stand out.
    assert (tiled - whole).abs().mean() < 0.5 * whole.std()


@torch.no_grad()
def test_a_picture_that_fits_one_tile_is_not_tiled(tiny_profile: Any) -> None:
    pipe = VidRDPipeline.from_pretrained(tiny_profile.model)
    z = pipe.vae.encode(torch.rand(1, 3, 64, 64) * 2 - 1).latent_dist.mean
    whole = pipe.vae.decode(z).sample
    pipe.vae.enable_tiling()
    torch.testing.assert_close(pipe.vae.decode(z).sample, whole)


@pytest.mark.parametrize("frames", [1, FRAMES])
@torch.no_grad()
def test_a_fresh_decoder_is_the_image_decoder_exactly(frames: int) -> None:
    image = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(32, 64),
        layers_per_block=2,
    ).eval()
    random_weights(image, 2)
    vae = TemporalVAE.from_image_vae(image)
    z = _latents(frames)
    assert torch.equal(vae.decode(z, num_frames=frames).sample, image.decode(z).sample)
    picture = torch.rand(2, 3, 16, 16)
    assert torch.equal(vae.encode(picture).latent_dist.mean, image.encode(picture).latent_dist.mean)


def test_checkpointing_reaches_the_decoder() -> None:
    """Quirk Q10: with gradient checkpointing on, gradients of the temporal layers stay the same."""
    grads = []
    for checkpointing in (False, True):
        vae = _vae().train()
        if checkpointing:
            vae.enable_gradient_checkpointing()
        names = vae.set_trainable_temporal()
        torch.manual_seed(0)  # dropout
        vae.decode(_latents(4, videos=1), num_frames=4).sample.square().mean().backward()
        grads.append({name: vae.get_parameter(name).grad for name in names})
    for name, grad in grads[0].items():
        torch.testing.assert_close(grads[1][name], grad)
