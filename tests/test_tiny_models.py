"""The recipe of the tiny models: its first steps learn, and what it shipped does what the profile promises."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tasks.tiny.models.train_clip import train_clip
from tasks.tiny.models.train_text import make_tokenizer, token_ids, train_text_encoder
from tasks.tiny.models.train_unet import draw_bank, train_unet
from tasks.tiny.models.train_vae import train_vae
from tasks.tiny.models.vocabulary import CONTEXT_LENGTH, train_merges, vocabulary, write_tokenizer
from tests.frame_reading import read_clip
from vidrd_model import TemporalVAE, VidRDPipeline
from vidrd_model.clip import ClipModel

STEPS = 9


def _falls(losses: list[float]) -> bool:
    third = len(losses) // 3
    return np.mean(losses[-third:]) < 0.9 * np.mean(losses[:third])


@pytest.mark.slow
def test_first_steps_of_the_autoencoder_learn():
    _vae, losses = train_vae(1600, seed=7, log=print, stop_after=STEPS)
    assert len(losses) == STEPS and _falls(losses)


@pytest.mark.slow
def test_first_steps_of_the_clip_model_learn():
    _clip, losses = train_clip(1500, seed=7, log=print, stop_after=2 * STEPS)
    assert _falls(losses)


@pytest.mark.slow
def test_first_steps_of_the_unet_learn(tiny_profile):
    vae = TemporalVAE.from_pretrained(f"{tiny_profile.model}/vae", dtype=torch.float32)
    bank, tokenizer = draw_bank(vae, seed=7, clips_per_scene=1), make_tokenizer()
    text_encoder, losses = train_text_encoder(tokenizer, seed=7, log=print, steps=2 * STEPS)
    assert _falls(losses)
    _unet, losses = train_unet(bank, text_encoder, tokenizer, 2600, seed=7, log=print, stop_after=STEPS)
    assert _falls(losses)


def test_both_tokenizers_agree(tmp_path, tiny_profile):
    write_tokenizer(tmp_path, train_merges())
    from transformers import CLIPTokenizer

    ours = CLIPTokenizer.from_pretrained(tmp_path)
    theirs = ClipModel.from_folder(tiny_profile.clip).tokenizer
    for text in ("a red circle moving left", "A video of two ORANGE squares, 3 px apart!"):
        ids = ours([text], truncation=True, max_length=CONTEXT_LENGTH).input_ids[0]
        assert theirs([text])[0, : len(ids)].tolist() == ids
    assert len(vocabulary(train_merges())) == len(ours)


def test_the_text_encoder_tells_every_word_apart(tiny_profile):
    """A direction counts as much as a colour: an encoder that drops it makes directions that are chance."""
    encoder = VidRDPipeline.from_pretrained(tiny_profile.model).text_encoder
    captions = ["a red circle moving left", "a red circle moving right", "a blue circle moving left"]
    with torch.no_grad():
        states = encoder(token_ids(make_tokenizer(), captions))[0]
    by_direction, by_colour = ((states[0] - states[i]).abs().mean() for i in (1, 2))
    assert by_direction > 0.25 * by_colour


def test_the_autoencoder_keeps_colour_and_shape(tiny_profile):
    from tasks.tiny.world.drawing import draw_clip, random_scene

    pipe = VidRDPipeline.from_pretrained(tiny_profile.model)
    rng = np.random.default_rng(99)
    right = 0
    for _ in range(12):
        scene = random_scene(rng)
        pixels = torch.from_numpy(draw_clip(scene, rng)).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.no_grad():
            latents = pipe.vae.encode(pixels).latent_dist.mean * pipe.vae.config.scaling_factor
        frames = (pipe.decode_latents(latents.transpose(0, 1)[None])[0] * 255).round().byte().numpy()
        reading = read_clip(frames)
        right += (reading.colour, reading.shape, reading.direction) == (
            scene.colour,
            scene.shape,
            scene.direction,
        )
    assert right >= 11
