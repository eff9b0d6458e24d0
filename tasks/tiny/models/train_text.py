"""Trains the tiny text encoder to keep every word of a caption in its states; the UNet then trains on them.

Trained together with the UNet, the encoder serves what lowers the loss first, colour and shape, and drops the
word for the direction for good. So it comes first and is frozen then, as VidRD freezes Stable Diffusion's.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

from tasks.tiny.models.architecture import TEXT_WIDTH, make_text_encoder
from tasks.tiny.models.batches import spoken_caption
from tasks.tiny.models.schedule import Log, ScheduledOptimizer
from tasks.tiny.models.vocabulary import train_merges, vocabulary_size, write_tokenizer
from tasks.tiny.world.drawing import random_scene

TEXT_STEPS = 600
BATCH = 64
LEARNING_RATE = 3e-3


def make_tokenizer() -> CLIPTokenizer:
    """Gives the tokenizer of the tiny text encoder."""
    with tempfile.TemporaryDirectory() as folder:
        write_tokenizer(Path(folder), train_merges())
        return CLIPTokenizer.from_pretrained(folder)


def token_ids(tokenizer: CLIPTokenizer, texts: list[str]) -> torch.Tensor:
    """Gives the token ids of texts, padded, (b, tokens)."""
    size = tokenizer.model_max_length
    return tokenizer(texts, padding="max_length", max_length=size, return_tensors="pt").input_ids


def train_text_encoder(
    tokenizer: CLIPTokenizer, seed: int, log: Log, steps: int = TEXT_STEPS
) -> tuple[CLIPTextModel, list[float]]:
    """Trains the encoder so that each state tells, through one linear layer, which words came up to it."""
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 9])
    words = vocabulary_size(train_merges())
    encoder, readout = make_text_encoder(words).train(), nn.Linear(TEXT_WIDTH, words)
    parameters = [*encoder.parameters(), *readout.parameters()]
    optimizer = ScheduledOptimizer("text", parameters, LEARNING_RATE, steps, log)
    for _ in range(steps):
        ids_bt = token_ids(tokenizer, [spoken_caption(random_scene(rng), rng) for _ in range(BATCH)])
        seen_btw = F.one_hot(ids_bt, words).cumsum(dim=1).clamp(max=1).float()
        logits_btw = readout(encoder(ids_bt)[0])
        optimizer.step(F.binary_cross_entropy_with_logits(logits_btw, seen_btw))
    return encoder.eval().requires_grad_(False), optimizer.losses
