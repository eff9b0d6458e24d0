"""A second image model of the tiny world's size: the embedded one, fine-tuned on still images in other colours.

Its text encoder, its VAE and the shapes of its layers are the embedded model's; it knows nothing of frames. What it
learns is what a community's fine-tune would: pictures with captions that name no motion.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel

from tasks.tiny.models.batches import to_pixels
from tasks.tiny.models.precision import half_precision
from tasks.tiny.models.train_text import token_ids
from tasks.tiny.world.drawing import draw_image, random_scene
from vidrd_model import VidRDPipeline
from vidrd_model.temporal_layers import TEMPORAL_MARK

BATCH_IMAGES = 48
IMAGES = 768
STEPS = 200
CAPTION_DROPOUT = 0.1
LEARNING_RATE = 4e-4


def image_model(pipe: VidRDPipeline) -> StableDiffusionPipeline:
    """A Stable Diffusion pipeline of the image layers of a video model; its weights are copies."""
    unet = UNet2DConditionModel(**_known(UNet2DConditionModel, pipe.unet.config))
    vae = AutoencoderKL(**_known(AutoencoderKL, pipe.vae.config))
    for image, video in ((unet, pipe.unet), (vae, pipe.vae)):
        weights = {name: value for name, value in video.state_dict().items() if TEMPORAL_MARK not in name}
        image.load_state_dict(weights)
    return StableDiffusionPipeline(
        vae=vae.eval(),
        text_encoder=pipe.text_encoder,
        tokenizer=pipe.tokenizer,
        unet=unet.eval(),
        scheduler=pipe.scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def recolour(frames_nhwc: np.ndarray) -> np.ndarray:
    """Red becomes green, green blue, blue red; what is dark, grey or white stays."""
    return np.ascontiguousarray(np.roll(frames_nhwc, 1, axis=-1))


def fine_tune(model: StableDiffusionPipeline, steps: int, seed: int) -> list[float]:
    """Trains all of an image model's UNet on recoloured images; returns the losses."""
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    scenes = [random_scene(rng, moving=False) for _ in range(IMAGES)]
    pixels = to_pixels(recolour(np.stack([draw_image(scene, rng) for scene in scenes])))
    with torch.no_grad():
        encoded = torch.cat([model.vae.encode(part).latent_dist.mean for part in pixels.split(64)])
    latents = encoded * model.vae.config.scaling_factor
    optimizer = torch.optim.AdamW(model.unet.parameters(), lr=LEARNING_RATE)
    losses = []
    model.unet.train()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1, (step + 1) / 10, (steps - step) / (steps / 2))
        rows = rng.integers(0, IMAGES, BATCH_IMAGES)
        captions = ["" if rng.random() < CAPTION_DROPOUT else scenes[row].caption for row in rows]
        timesteps = torch.from_numpy(rng.integers(0, model.scheduler.config.num_train_timesteps, len(rows)))
        noise = torch.randn(latents[rows].shape, generator=generator)
        noisy = model.scheduler.add_noise(latents[rows], noise, timesteps)
        with torch.no_grad():
            text = model.text_encoder(token_ids(model.tokenizer, captions))[0]
        with half_precision():
            predicted = model.unet(noisy, timesteps, text).sample
        loss = (predicted.float() - noise).square().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.unet.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    model.unet.eval()
    return losses


def write_recoloured_model(
    folder: Path, tiny_model: str | Path, steps: int = STEPS, seed: int = 7
) -> list[float]:
    """Writes the fine-tuned model as a Stable Diffusion folder; returns the losses of its training."""
    model = image_model(VidRDPipeline.from_pretrained(tiny_model))
    losses = fine_tune(model, steps, seed)
    model.save_pretrained(folder)
    return losses


def _known(part_class: type, config: dict) -> dict:
    known = part_class._get_init_keys(part_class)
    return {name: value for name, value in config.items() if name in known}
