"""Trains the tiny UNet with its temporal layers, and the text encoder with it, on latents of the tiny world."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import CLIPTextModel, CLIPTokenizer

from tasks.tiny_models.architecture import NUM_FRAMES, make_scheduler, make_text_encoder, make_unet
from tasks.tiny_models.batches import to_pixels
from tasks.tiny_models.schedule import Average, Log, Trainer
from tasks.tiny_models.vocabulary import train_merges, vocabulary_size, write_tokenizer
from tasks.tiny_world.drawing import COLOURS, DIRECTIONS, SHAPES, Scene, draw_clip
from vidrd_model import TemporalUNet, TemporalVAE
from vidrd_model.temporal_layers import fold_frames, unfold_frames

CLIPS_PER_SCENE = 32
BATCH_CLIPS = 8
LEARNING_RATE = 1.2e-3
CAPTION_DROPOUT = 0.1
IMAGE_STEP_SHARE = 0.15
MIN_SNR_GAMMA = 5.0


@dataclass
class LatentBank:
    """Scaled latents of drawn clips (k, 4, n, h, w) and what each shows."""

    latents: torch.Tensor
    scenes: list[Scene]


@torch.no_grad()
def draw_bank(vae: TemporalVAE, seed: int, clips_per_scene: int = CLIPS_PER_SCENE) -> LatentBank:
    """Draws every scene `clips_per_scene` times and encodes it."""
    rng = np.random.default_rng([seed, 3])
    latents, scenes = [], []
    for colour in COLOURS:
        for shape in SHAPES:
            for direction in DIRECTIONS:
                scene = Scene(colour, shape, direction)
                frames = np.concatenate([draw_clip(scene, rng, NUM_FRAMES) for _ in range(clips_per_scene)])
                mean = vae.encode(to_pixels(frames)).latent_dist.mean * vae.config.scaling_factor
                latents.append(unfold_frames(mean, clips_per_scene).half())
                scenes += [scene] * clips_per_scene
    return LatentBank(torch.cat(latents), scenes)


def train_unet(
    vae: TemporalVAE, bank: LatentBank, steps: int, seed: int, log: Log, stop_after: int | None = None
) -> tuple[TemporalUNet, CLIPTextModel, list[float]]:
    """Trains all of the UNet and the text encoder; returns the averaged models and the losses.

    A step sees 8 clips or, sometimes, 64 single frames with captions that name no motion.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 4])
    merges = train_merges()
    with tempfile.TemporaryDirectory() as folder:
        write_tokenizer(Path(folder), merges)
        tokenizer = CLIPTokenizer.from_pretrained(folder)
    unet, text_encoder = make_unet().train(), make_text_encoder(vocabulary_size(merges)).train()
    parameters = [*unet.parameters(), *text_encoder.parameters()]
    trainer, average = Trainer("unet", parameters, LEARNING_RATE, steps, log), Average(parameters, 0.999)
    alphas = make_scheduler().alphas_cumprod
    for _ in range(min(steps, stop_after or steps)):
        latents, captions = _batch(bank, rng)
        captions = ["" if rng.random() < CAPTION_DROPOUT else caption for caption in captions]
        ids = tokenizer(
            captions, padding="max_length", max_length=tokenizer.model_max_length, return_tensors="pt"
        )
        timesteps = torch.from_numpy(rng.integers(0, len(alphas), size=len(captions)))
        alpha = alphas[timesteps].view(-1, 1, 1, 1, 1)
        noise = torch.randn(latents.shape)
        noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
        with torch.autocast("cpu", torch.bfloat16):
            text = text_encoder(ids.input_ids)[0]
            predicted = unet(noisy, timesteps, text).sample
        error = (predicted.float() - noise).square().mean(dim=(1, 2, 3, 4))
        signal_to_noise = (alpha / (1 - alpha)).flatten()
        weight = signal_to_noise.clamp(max=MIN_SNR_GAMMA) / signal_to_noise
        trainer.step((weight * error).mean())
        average.update()
    average.copy_to()
    return unet.eval(), text_encoder.eval(), trainer.losses


def _batch(bank: LatentBank, rng: np.random.Generator) -> tuple[torch.Tensor, list[str]]:
    images = rng.random() < IMAGE_STEP_SHARE
    rows = rng.integers(0, len(bank.scenes), size=BATCH_CLIPS * NUM_FRAMES if images else BATCH_CLIPS)
    latents = bank.latents[rows].float()
    scenes = [bank.scenes[row] for row in rows]
    if not images:
        return latents, [scene.caption for scene in scenes]
    frames = torch.from_numpy(rng.integers(0, NUM_FRAMES, size=len(rows)))
    single = fold_frames(latents)[torch.arange(len(rows)) * NUM_FRAMES + frames][:, :, None]
    return single, [Scene(scene.colour, scene.shape).caption for scene in scenes]
