"""Trains the tiny CLIP on frames and captions of the tiny world, with a sigmoid loss over all pairs."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import open_clip
import torch
import torch.nn.functional as F

from tasks.tiny.models.architecture import make_clip
from tasks.tiny.models.batches import frame_batch, spoken_caption
from tasks.tiny.models.precision import half_precision
from tasks.tiny.models.schedule import Average, Log, ScheduledOptimizer
from tasks.tiny.models.vocabulary import CONTEXT_LENGTH, train_merges, vocabulary_size, write_open_clip_merges

BATCH = 64
LEARNING_RATE = 1e-3
# Cosines of right and wrong pairs settle on both sides of 0.5, so that one threshold tells them apart.
LOGIT_SCALE, LOGIT_BIAS = 12.0, -6.0


def train_clip(
    steps: int, seed: int, log: Log, stop_after: int | None = None
) -> tuple[open_clip.CLIP, list[float]]:
    """Trains image and text towers; returns the averaged model and the losses.

    Pairs match when colour and shape do: frames cannot show the direction of motion.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 2])
    merges = train_merges()
    clip_model = make_clip(vocabulary_size(merges)).train()
    tokenizer = _tokenizer(merges)
    parameters = [p for p in clip_model.parameters() if p.requires_grad]
    optimizer, average = (
        ScheduledOptimizer("clip", parameters, LEARNING_RATE, steps, log),
        Average(parameters, 0.998),
    )
    for _ in range(min(steps, stop_after or steps)):
        pixels, scenes = frame_batch(rng, BATCH)
        texts = tokenizer([spoken_caption(scene, rng) for scene in scenes])
        with half_precision():
            images_bd = clip_model.encode_image(pixels, normalize=True)
            texts_bd = clip_model.encode_text(texts, normalize=True)
        logits = LOGIT_SCALE * images_bd.float() @ texts_bd.float().T + LOGIT_BIAS
        kinds = [(scene.colour, scene.shape) for scene in scenes]
        same = torch.tensor([[one == other for other in kinds] for one in kinds]).float()
        # Wrong pairs are 23 times as many as right ones; weighted so that both count alike.
        weight = torch.where(same > 0, 0.5 / same.mean(), 0.5 / (1 - same).mean())
        optimizer.step(F.binary_cross_entropy_with_logits(logits, same, weight=weight))
        average.update()
    average.copy_to()
    return clip_model.eval(), optimizer.losses


def _tokenizer(merges: list[tuple[str, str]]) -> open_clip.SimpleTokenizer:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "merges.txt.gz"
        write_open_clip_merges(path, merges)
        return open_clip.SimpleTokenizer(str(path), context_length=CONTEXT_LENGTH)
