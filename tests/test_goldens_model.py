"""The model against tensors computed with the authors' own code (shared/goldens/vidrd)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler
from safetensors.torch import load_file

from vidrd_model import VidRDPipeline
from vidrd_model.published import unet_from_published, vae_from_published
from vidrd_model.reuse import guided_steps

GOLDENS = Path(__file__).parents[1].parent / "shared" / "goldens" / "vidrd"
pytestmark = pytest.mark.skipif(not GOLDENS.is_dir(), reason="shared/goldens/vidrd is not beside the project")


def _unet(without_temporal: bool = False, **changes):
    config = json.loads((GOLDENS / "unet_a.json").read_text())["config"] | changes
    weights = load_file(GOLDENS / "unet_a.weights.safetensors")
    if without_temporal:
        weights = {key: value for key, value in weights.items() if "temp_" not in key}
    return unet_from_published(config, weights)


@pytest.fixture(scope="module")
def io():
    return load_file(GOLDENS / "unet_a.io.safetensors")


@pytest.mark.parametrize(
    "key, frames, without_temporal, changes",
    [
        ("out", 8, False, {}),
        ("out_single_frame", 1, False, {}),
        ("out_noembed", 8, False, {"add_temp_embed": False}),
        ("out_noembed_single_frame", 1, False, {"add_temp_embed": False}),
        ("out_spatial_only", 8, True, {}),
        ("out_spatial_only_single_frame", 1, True, {}),
    ],
)
@torch.no_grad()
def test_unet_equals_the_authors(io, key, frames, without_temporal, changes):
    unet = _unet(without_temporal, **changes)
    out = unet(io["sample"][:, :, :frames], io["timestep"], io["encoder_hidden_states"]).sample
    torch.testing.assert_close(out, io[key], atol=1e-4, rtol=0)


@torch.no_grad()
def test_zeroed_temporal_outputs_show_the_embedding_leak(io):
    """Quirk Q1: with the published embedding, zero-output temporal layers are not the image model."""
    unet = _unet()
    for module in unet.modules():
        if hasattr(module, "zero_output"):
            module.zero_output()
    out = unet(io["sample"], io["timestep"], io["encoder_hidden_states"]).sample
    torch.testing.assert_close(out, io["out_zero_init_temporal"], atol=1e-4, rtol=0)
    assert (out - io["out_spatial_only"]).abs().max() > 1


@pytest.mark.parametrize("key, num_frames", [("decode_f8", 8), ("decode_f16", 16), ("decode_f1", 1)])
@torch.no_grad()
def test_vae_decodes_as_the_authors(key, num_frames):
    vae, tensors = _vae(), load_file(GOLDENS / "vae_a.io.safetensors")
    out = vae.decode(tensors["z"], num_frames=num_frames).sample
    torch.testing.assert_close(out, tensors[key], atol=1e-4, rtol=0)


@torch.no_grad()
def test_vae_encodes_and_reconstructs_as_the_authors():
    vae, tensors = _vae(), load_file(GOLDENS / "vae_a.io.safetensors")
    posterior = vae.encode(tensors["image"]).latent_dist
    torch.testing.assert_close(posterior.mean, tensors["encode_mean"], atol=1e-4, rtol=0)
    torch.testing.assert_close(posterior.logvar, tensors["encode_logvar"], atol=1e-4, rtol=0)
    out = vae(tensors["image"], num_frames=8).sample
    torch.testing.assert_close(out, tensors["forward_recon_f8"], atol=1e-4, rtol=0)


@torch.no_grad()
def test_sliced_decoding_goes_by_whole_videos():
    vae, tensors = _vae(), load_file(GOLDENS / "vae_a.io.safetensors")
    vae.enable_slicing()
    out = vae.decode(tensors["z"], num_frames=8).sample
    torch.testing.assert_close(out, tensors["decode_f8"], atol=1e-4, rtol=0)


@pytest.mark.parametrize("clips_at_once", [1, 2, pytest.param(3, marks=pytest.mark.slow)])
def test_sampling_equals_the_authors_at_every_step_of_every_clip(clips_at_once):
    settings = json.loads((GOLDENS / "sampling_a.json").read_text())
    tensors = load_file(GOLDENS / "sampling_a.safetensors")
    scheduler = DDIMScheduler(**settings["scheduler"], timestep_spacing="leading")
    alpha = float(settings["extend_noise_recycle"])
    pipe = VidRDPipeline(unet=_unet(), scheduler=scheduler)
    seen: dict[str, torch.Tensor] = {}
    # The goldens hold the noise after its scaling by 1 / sqrt(1 + alpha^2); ours takes unit variance.
    fresh_noise = [tensors[f"clip{i}.noise"] * (1 + alpha**2) ** 0.5 for i in (1, 2)]
    clips = pipe.sample_latents(
        prompt_embeds=tensors["prompt_embeds"],
        negative_prompt_embeds=tensors["negative_prompt_embeds"],
        initial_noise=tensors["latents_init"],
        fresh_noise=iter(fresh_noise),
        num_inference_steps=settings["num_inference_steps"],
        guidance_scale=settings["guidance_scale"],
        prompt_frames=settings["extend_overlap_frames"],
        alpha=alpha,
        beta=settings["extend_denoise_guidance"],
        clips_at_once=clips_at_once,
        on_step=lambda clip, step, x: seen.__setitem__(f"clip{clip}.step{step:02d}.pre", x),
    )
    for index, latents in enumerate(clips):
        torch.testing.assert_close(latents, tensors[f"clip{index}.final"], atol=1e-3, rtol=1e-3)
    assert index == 2
    wanted = {key for key in tensors if key.endswith(".pre")}
    assert set(seen) == wanted and len(wanted) == 30
    for key in wanted:
        torch.testing.assert_close(seen[key], tensors[key], atol=1e-3, rtol=1e-3, msg=key)


def test_guided_steps_are_the_authors():
    settings = json.loads((GOLDENS / "sampling_a.json").read_text())
    assert guided_steps(4, 10, 0.4) == settings["forced_steps_per_frame"]
    assert guided_steps(4, 50, 0.4) == [20, 15, 10, 5]
    assert guided_steps(0, 50, 0.4) == []


def _vae():
    config = json.loads((GOLDENS / "vae_a.json").read_text())["config"]
    return vae_from_published(config, load_file(GOLDENS / "vae_a.weights.safetensors"))
