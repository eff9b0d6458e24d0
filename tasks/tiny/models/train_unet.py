"""Trains the tiny UNet with its temporal layers on latents of the tiny world."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import numpy as np
import torch
from transformers import CLIPTextModel, CLIPTokenizer

from tasks.tiny.models.architecture import NUM_FRAMES, make_scheduler, make_unet
from tasks.tiny.models.batches import to_pixels
from tasks.tiny.models.precision import half_precision
from tasks.tiny.models.schedule import Average, Log, ScheduledOptimizer
from tasks.tiny.models.train_text import token_ids
from tasks.tiny.world.drawing import COLOURS, DIRECTIONS, SHAPES, Scene, draw_clip
from vidrd_model import TemporalUNet, TemporalVAE
from vidrd_model.temporal_layers import fold_frames, unfold_frames

CLIPS_PER_SCENE = 32
BATCH_CLIPS = 8
LEARNING_RATE = 1.2e-3
CAPTION_DROPOUT = 0.1
IMAGE_STEP_SHARE = 0.15
# Over whole clips a direction word says where the object is only together with the frame's number: gradients
# hardly find such a product of three. In the last frames alone the word itself tells the place, so for a while
# every other step shows only those; without that, the direction stayed at chance.
ENDING_STEP_SHARE = 0.5
ENDING_FRAMES = 4
ENDINGS_UNTIL = 0.5
# The direction is decided near pure noise: the endings are shown in the noisier half of the schedule only.
ENDING_FIRST_TIMESTEP = 500
CHECK_EVERY_STEPS = 250
CHECK_TIMESTEP = 950
OPPOSITE = {"left": "right", "right": "left", "up": "down", "down": "up"}
# Weights of the squared error of noise: as if the model predicted v, which keeps the steps near pure noise, where
# the direction is decided, from being drowned. Capped, because the last of them weigh without bound.
MAX_WEIGHT = 30.0


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
    bank: LatentBank,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    steps: int,
    seed: int,
    log: Log,
    stop_after: int | None = None,
) -> tuple[TemporalUNet, list[float]]:
    """Trains all of the UNet on the frozen encoder's states; returns the averaged model and the losses.

    `stop_after` ends early on the schedule of `steps`.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 4])
    unet = make_unet().train()
    parameters = list(unet.parameters())
    optimizer, average = (
        ScheduledOptimizer("unet", parameters, LEARNING_RATE, steps, log),
        Average(parameters, 0.999),
    )
    alphas = make_scheduler().alphas_cumprod
    for step in range(min(steps, stop_after or steps)):
        ending = step < ENDINGS_UNTIL * steps and rng.random() < ENDING_STEP_SHARE
        latents, captions = _endings(bank, rng) if ending else _batch(bank, rng)
        captions = ["" if rng.random() < CAPTION_DROPOUT else caption for caption in captions]
        timesteps = torch.from_numpy(
            rng.integers(ENDING_FIRST_TIMESTEP if ending else 0, len(alphas), size=len(captions))
        )
        alpha = alphas[timesteps].view(-1, 1, 1, 1, 1)
        noise = torch.randn(latents.shape)
        noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
        with half_precision():
            text = text_encoder(token_ids(tokenizer, captions))[0]
            predicted = unet(noisy, timesteps, text).sample
        error = (predicted.float() - noise).square().mean(dim=(1, 2, 3, 4))
        # v's error is the noise's divided by sqrt(alpha).
        weight = (1 / alpha.flatten()).clamp(max=MAX_WEIGHT)
        optimizer.step((weight * error).mean())
        average.update()
        if (step + 1) % CHECK_EVERY_STEPS == 0:
            log(json.dumps(_direction_check(unet, text_encoder, tokenizer, bank, step + 1)))
    average.copy_to()
    return unet.eval(), optimizer.losses


def _endings(bank: LatentBank, rng: np.random.Generator) -> tuple[torch.Tensor, list[str]]:
    """Gives the last frames of as many clips as have the frames of 8 whole ones."""
    rows = rng.integers(0, len(bank.scenes), size=BATCH_CLIPS * NUM_FRAMES // ENDING_FRAMES)
    return bank.latents[rows, :, -ENDING_FRAMES:].float(), [bank.scenes[row].caption for row in rows]


def _batch(bank: LatentBank, rng: np.random.Generator) -> tuple[torch.Tensor, list[str]]:
    """8 clips, or sometimes 64 single frames with captions that name no motion."""
    images = rng.random() < IMAGE_STEP_SHARE
    rows = rng.integers(0, len(bank.scenes), size=BATCH_CLIPS * NUM_FRAMES if images else BATCH_CLIPS)
    latents = bank.latents[rows].float()
    scenes = [bank.scenes[row] for row in rows]
    if not images:
        return latents, [scene.caption for scene in scenes]
    frames = torch.from_numpy(rng.integers(0, NUM_FRAMES, size=len(rows)))
    single = fold_frames(latents)[torch.arange(len(rows)) * NUM_FRAMES + frames][:, :, None]
    return single, [Scene(scene.colour, scene.shape).caption for scene in scenes]


@torch.no_grad()
def _direction_check(
    unet: TemporalUNet, text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer, bank: LatentBank, step: int
) -> dict[str, object]:
    """Errors of the clean latents seen in near pure noise, told the right and the opposite direction.

    As long as both are alike, the model does not know what the word means.
    """
    alpha = make_scheduler().alphas_cumprod[CHECK_TIMESTEP]
    entry: dict[str, object] = {"training": "unet", "step": step}
    unet.eval()
    for axis in (("left", "right"), ("up", "down")):
        rows = [i for i, scene in enumerate(bank.scenes) if scene.direction in axis]
        rows = rows[:: max(1, len(rows) // 64)]
        latents, scenes = bank.latents[rows].float(), [bank.scenes[row] for row in rows]
        noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))
        noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
        errors = []
        for told in (scenes, [replace(scene, direction=OPPOSITE[str(scene.direction)]) for scene in scenes]):
            text = text_encoder(token_ids(tokenizer, [scene.caption for scene in told]))[0]
            predicted = unet(noisy, CHECK_TIMESTEP, text).sample
            error = ((1 - alpha) / alpha * (predicted - noise).square()).mean()
            errors.append(round(error.item(), 3))
        entry["_".join(axis)] = {"told_right": errors[0], "told_opposite": errors[1]}
    unet.train()
    return entry
