"""The recipe of the tiny models: its first steps learn, and what it shipped does what the profile promises."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tasks.tiny_models.train_clip import train_clip
from tasks.tiny_models.train_text import make_tokenizer, token_ids, train_text_encoder
from tasks.tiny_models.train_unet import draw_bank, train_unet
from tasks.tiny_models.train_vae import train_vae
from tasks.tiny_models.vocabulary import CONTEXT_LENGTH, train_merges, vocabulary, write_tokenizer
from tests.frame_reading import read_clip
from vidrd_model import TemporalVAE, VidRDPipeline
from vidrd_model.clip import ClipModel

STEPS = 12


def _falls(losses: list[float]) -> bool:
    third = len(losses) // 3
    return np.mean(losses[-third:]) < 0.9 * np.mean(losses[:third])


def test_first_steps_of_the_autoencoder_learn():
    _vae, losses = train_vae(1600, seed=7, log=print, stop_after=STEPS)
    assert len(losses) == STEPS and _falls(losses)


def test_first_steps_of_the_clip_model_learn():
    _clip, losses = train_clip(1500, seed=7, log=print, stop_after=2 * STEPS)
    assert _falls(losses)


def test_first_steps_of_the_unet_learn(tiny_profile):
    vae = TemporalVAE.from_pretrained(f"{tiny_profile.model}/vae", torch_dtype=torch.float32)
    bank, tokenizer = draw_bank(vae, seed=7, clips_per_scene=1), make_tokenizer()
    text_encoder, losses = train_text_encoder(tokenizer, seed=7, log=print, steps=2 * STEPS)
    assert _falls(losses)
    _unet, losses = train_unet(bank, text_encoder, tokenizer, 2600, seed=7, log=print, stop_after=2 * STEPS)
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
    from tasks.tiny_world.drawing import draw_clip, random_scene

    pipe = VidRDPipeline.from_pretrained(tiny_profile.model)
    rng = np.random.default_rng(99)
    right = 0
    for _ in range(24):
        scene = random_scene(rng)
        pixels = torch.from_numpy(draw_clip(scene, rng)).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.no_grad():
            latents = pipe.vae.encode(pixels).latent_dist.mean * pipe.vae.config.scaling_factor
        frames = pipe.decode_latents(latents.transpose(0, 1)[None])[0]
        reading = read_clip(frames)
        right += (reading.colour, reading.shape, reading.direction) == (
            scene.colour,
            scene.shape,
            scene.direction,
        )
    assert right >= 23


@pytest.mark.slow
def test_generated_clips_show_the_prompt(tiny_profile):
    """Over 128 prompts and seeds, one clip each: the colour is right in 90 %, the direction in 75 %."""
    from tasks.tiny_world.drawing import random_scene

    pipe = VidRDPipeline.from_pretrained(tiny_profile.model)
    pipe.set_progress_bar_config(disable=True)
    rng = np.random.default_rng(128)
    scenes = [random_scene(rng) for _ in range(128)]
    colours = shapes = directions = 0
    for start in range(0, len(scenes), 16):
        part = scenes[start : start + 16]
        seeds = list(range(start, start + len(part)))
        for scene, frames in zip(
            part, _generate(pipe, tiny_profile, [s.caption for s in part], seeds), strict=True
        ):
            reading = read_clip(frames)
            colours += reading.colour == scene.colour
            shapes += reading.shape == scene.shape
            directions += reading.direction == scene.direction
    print(f"of {len(scenes)} clips: colour {colours}, shape {shapes}, direction {directions}")
    assert colours >= 0.90 * len(scenes)
    assert directions >= 0.75 * len(scenes)


@pytest.mark.slow
def test_longer_videos_go_on_without_a_jump(tiny_profile):
    """Three clips keep colour and shape, move in clips 2 and 3, and never step more than twice as far as usual."""
    from tasks.tiny_world.drawing import random_scene

    pipe = VidRDPipeline.from_pretrained(tiny_profile.model)
    pipe.set_progress_bar_config(disable=True)
    rng = np.random.default_rng(3)
    scenes = [random_scene(rng) for _ in range(16)]
    videos = _generate(pipe, tiny_profile, [s.caption for s in scenes], list(range(16)), num_clips=3)
    n, m = tiny_profile.clips.num_frames, tiny_profile.sampling.prompt_frames
    failures = []
    for scene, frames in zip(scenes, videos, strict=True):
        clips = [read_clip(frames[i : i + n]) for i in (0, n, 2 * n)]
        steps = read_clip(frames).steps_px
        usual = np.nanmedian(clips[0].steps_px)
        seams = [steps[k * n - 1] for k in (1, 2)] + [steps[k * n + m - 1] for k in (1, 2)]
        kept = all((c.colour, c.shape) == (scene.colour, scene.shape) for c in clips)
        moves = all(np.nansum(c.steps_px) > usual for c in clips[1:])
        if not (kept and moves and max(seams) <= 2 * usual):
            failures.append((scene.caption, kept, moves, [round(float(s / usual), 2) for s in seams]))
    assert len(failures) <= len(scenes) // 8, failures


def _generate(pipe, profile, prompts, seeds, num_clips=1):
    sampling = profile.sampling
    return pipe(
        prompts,
        num_clips=num_clips,
        num_frames=profile.clips.num_frames,
        seed=seeds,
        num_inference_steps=sampling.num_inference_steps,
        guidance_scale=sampling.guidance_scale,
        negative_prompt=sampling.negative_prompt,
        prompt_frames=sampling.prompt_frames,
        alpha=sampling.alpha,
        beta=sampling.beta,
    ).frames
