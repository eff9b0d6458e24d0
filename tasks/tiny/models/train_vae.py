"""Trains the tiny autoencoder on frames of the tiny world."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from tasks.tiny.models.architecture import make_vae
from tasks.tiny.models.batches import frame_batch
from tasks.tiny.models.precision import half_precision
from tasks.tiny.models.schedule import Average, Log, ScheduledOptimizer
from vidrd_model import TemporalVAE
from vidrd_model.temporal_layers import TEMPORAL_MARK

BATCH = 16
LEARNING_RATE = 1.5e-3
KL_WEIGHT = 1e-5
# Posteriors start narrow: with unit deviation the first hundreds of steps see only noise and learn the ground.
FIRST_LOG_VARIANCE = -5.0


def train_vae(
    steps: int, seed: int, log: Log, stop_after: int | None = None
) -> tuple[TemporalVAE, list[float]]:
    """Trains encoder and image decoder; returns the averaged model, its scaling factor set, and the losses.

    `stop_after` ends early on the schedule of `steps`. The decoder's temporal layers stay fresh.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 1])
    vae = make_vae().train()
    with torch.no_grad():
        vae.quant_conv.bias[vae.config.latent_channels :] += FIRST_LOG_VARIANCE
    parameters = [p for name, p in vae.named_parameters() if TEMPORAL_MARK not in name]
    optimizer, average = (
        ScheduledOptimizer("vae", parameters, LEARNING_RATE, steps, log),
        Average(parameters, 0.998),
    )
    for _ in range(min(steps, stop_after or steps)):
        pixels, _scenes = frame_batch(rng, BATCH)
        with half_precision():
            posterior = vae.encode(pixels).latent_dist
            recon = vae.decode(posterior.sample()).sample
        recon = recon.float()
        # Mostly squared error: the shape is a tenth of the frame, and the absolute error's median is the ground.
        error = 4 * F.mse_loss(recon, pixels) + 0.25 * F.l1_loss(recon, pixels)
        optimizer.step(error + KL_WEIGHT * posterior.kl().float().mean())
        average.update()
    average.copy_to()
    vae.eval()
    set_scaling_factor(vae, rng, log)
    return vae, optimizer.losses


@torch.no_grad()
def set_scaling_factor(vae: TemporalVAE, rng: np.random.Generator, log: Log) -> None:
    """Sets the factor that gives latents unit deviation, and logs the reconstruction error in 0..255 levels."""
    pixels, _scenes = frame_batch(rng, 64)
    latents = vae.encode(pixels).latent_dist.mean
    vae.register_to_config(scaling_factor=round(1.0 / latents.std().item(), 5))
    error = (vae.decode(latents).sample - pixels).abs().mean().item() * 127.5
    log(
        f'{{"training": "vae", "scaling_factor": {vae.config.scaling_factor}, "mean_error_levels": {error:.2f}}}'
    )
