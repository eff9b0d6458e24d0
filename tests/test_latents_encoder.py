"""Latents of a clip are its posterior's, scaled."""

import numpy as np
import pytest
import torch

from tasks.errors import ItemError
from tasks.latents.encoder import LatentEncoder, Latents
from tasks.tiny.world.drawing import draw_clip, random_scene
from vidrd_model import TemporalVAE


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [draw_clip(random_scene(rng), rng) for _ in range(5)]


def _latents(encoded: list[Latents | ItemError]) -> list[Latents]:
    assert not [error for error in encoded if isinstance(error, ItemError)]
    return [latents for latents in encoded if isinstance(latents, Latents)]


@torch.no_grad()
def test_mean_and_deviation_are_the_posteriors(clips, tiny_profile):
    vae = TemporalVAE.from_pretrained(tiny_profile.model, subfolder="vae").eval()
    pixels_nchw = torch.from_numpy(clips[0]).permute(0, 3, 1, 2).float() / 127.5 - 1
    posterior = vae.encode(pixels_nchw).latent_dist
    (latents,) = _latents(LatentEncoder(tiny_profile.model, with_std=True).encode(clips[:1]))
    assert latents.std_nchw is not None and latents.mean_nchw.dtype == latents.std_nchw.dtype == np.float16
    for got, wanted in ((latents.mean_nchw, posterior.mean), (latents.std_nchw, posterior.std)):
        np.testing.assert_allclose(got, wanted.numpy() * vae.config.scaling_factor, rtol=2e-3, atol=2e-3)
    (without,) = _latents(LatentEncoder(tiny_profile.model).encode(clips[:1]))
    assert without.std_nchw is None
