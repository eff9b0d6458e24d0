"""The names that people and scripts outside rely on, from a list of its own: each is called, or its options are there.

What is promised and does not exist yet fails strictly: whoever adds it takes its mark off, so the list of what is
missing can only shrink, and no promise can vanish.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Set
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import torch
import typer
from PIL import Image

from flows.cli.app import app
from tests.quiet_pipeline import quiet_pipeline

PROMPT = "a red circle moving right"
QUICK: dict[str, Any] = {"num_inference_steps": 1, "guidance_scale": 1.0}

COMMANDS: dict[str, list[str]] = {
    "build-dataset": ["--corpora", "--dataset"],
    "dataset info": ["DATASET"],
    "dataset verify": ["DATASET"],
    "dataset refilter": ["DATASET"],
    "dataset retry-quarantine": ["DATASET"],
    "dataset remove": ["DATASET", "--source-id", "--corpus", "--licence"],
    "dataset plan": ["DATASET"],
    "retrain": ["--dataset", "--part", "--trainable"],
    "evaluate": ["--model", "--reference", "--protocol"],
    "promote": ["--model"],
    "generate": [
        *(
            "PROMPT",
            "--clips",
            "--seed",
            "--out",
            "--model",
            "--prompts",
            "--out-dir",
            "--then",
            "--continue",
        ),
        *("--image", "--steps", "--guidance", "--negative-prompt", "--alpha", "--beta", "--prompt-frames"),
        *("--fps", "--size", "--seam", "--scheduler", "--device", "--lora", "--clips-at-once", "--force"),
    ],
    "ablate": [],
    "weights fetch": ["NAME"],
    "weights list": [],
    "weights import": [],
    "weights export": ["--temporal", "--model", "--out"],
    "up": [],
    "distill": ["--model", "--steps"],
    "pretrain": ["--corpora"],
    "profile list": [],
    "profile show": ["NAME"],
    "profile new": ["FILE", "--from"],
    "down": [],
    "doctor": [],
    "status": [],
    "gc": [],
    "app": [],
    "serve": [],
}
OF_EVERY_COMMAND = ["--help", "--profile", "--set", "--json"]

NOT_YET: Mapping[str, Set[str]] = {}
NO_COMMAND_YET = {
    *("distill", "pretrain"),
    *("status", "gc", "app", "serve"),
}
FLOWS = {
    "build_dataset": "BuildDatasetParams",
    "retrain": "RetrainParams",
    "evaluate": "EvaluateParams",
    "promote": "PromoteParams",
    "generate": "GenerateParams",
    "ablate": "AblateParams",
}


def _not_yet(command: str, name: str) -> bool:
    return command in NO_COMMAND_YET or name in NOT_YET.get(command, ())


def _marked(value: Any, missing: bool, id_: str) -> Any:
    marks = [pytest.mark.xfail(strict=True, reason="promised, does not exist yet")] if missing else []
    return pytest.param(*value, marks=marks, id=id_)


def _command(name: str) -> Any:
    """The command, by introspection: nothing runs."""
    found: Any = typer.main.get_command(app)
    for part in name.split():
        found = found.commands[part]
    return found


@pytest.mark.parametrize(
    ("command", "name"),
    [
        _marked((command, name), _not_yet(command, name), f"{command} {name}")
        for command, names in COMMANDS.items()
        for name in [*names, *OF_EVERY_COMMAND]
    ],
)
def test_every_command_has_its_options(command: str, name: str) -> None:
    found = _command(command)
    if name == "--help":
        text = found.get_help(click.Context(found, info_name=command))
        assert f"Example: vidrd {command}" in text
        return
    options = [option for parameter in found.params for option in parameter.opts]
    arguments = [p.name.upper() for p in found.params if p.param_type_name == "argument"]
    assert name in options + arguments


@pytest.mark.parametrize("flow", FLOWS)
def test_every_deployment_takes_set(flow: str) -> None:
    from importlib import import_module

    assert "set" in getattr(import_module(f"flows.{flow}"), FLOWS[flow]).model_fields


@pytest.fixture(scope="module")
def pipe(tiny_profile: Any) -> Any:
    return quiet_pipeline(tiny_profile.model)


def _image_unet() -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        block_out_channels=(32, 32),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=8,
        attention_head_dim=2,
    )


def from_image_unet(pipe: Any, folder: Path, shared: Path) -> None:
    from vidrd_model import TemporalUNet

    image = _image_unet()
    image.save_pretrained(folder / "image")
    for source in (image, folder / "image"):
        unet = TemporalUNet.from_image_unet(source)
        sample_bcnhw, text_btd = torch.zeros(1, 4, 3, 8, 8), torch.zeros(1, 5, 8)
        assert unet(sample_bcnhw, torch.tensor([3]), encoder_hidden_states=text_btd).sample.shape == (
            1,
            4,
            3,
            8,
            8,
        )


def from_published(pipe: Any, folder: Path, shared: Path) -> None:
    from safetensors.torch import load_file

    from vidrd_model.published import unet_from_published, vae_from_published

    goldens = shared / "goldens" / "vidrd"
    configs = {
        name: json.loads((goldens / f"{name}.json").read_text())["config"] for name in ("unet_a", "vae_a")
    }
    weights = {name: load_file(goldens / f"{name}.weights.safetensors") for name in configs}
    assert unet_from_published(configs["unet_a"], weights["unet_a"]).config.in_channels == 4
    assert vae_from_published(configs["vae_a"], weights["vae_a"]).config.latent_channels == 4


def vae(pipe: Any, folder: Path, shared: Path) -> None:
    from vidrd_model import TemporalVAE

    assert isinstance(pipe.vae, TemporalVAE)
    with torch.no_grad():
        latents = pipe.vae.encode(torch.zeros(8, 3, 64, 64)).latent_dist.mean
        assert pipe.vae.decode(latents, num_frames=8).sample.shape == (8, 3, 64, 64)


def sample_latents(pipe: Any, folder: Path, shared: Path) -> None:
    seen: list[tuple[int, int]] = []
    text_btd = pipe.encode_prompt([PROMPT])
    clips = pipe.sample_latents(
        prompt_embeds=text_btd,
        negative_prompt_embeds=pipe.encode_prompt([""]),
        initial_noise=torch.randn(1, 4, 8, 8, 8),
        fresh_noise=[torch.randn(1, 4, 8, 8, 8)],
        num_inference_steps=2,
        guidance_scale=7.5,
        prompt_frames=4,
        alpha=4.0,
        beta=0.4,
        on_step=lambda clip, step, latents: seen.append((clip, step)),
    )
    assert [latents_bcnhw.shape for latents_bcnhw in clips] == [(1, 4, 8, 8, 8)] * 2
    assert seen == [(0, 0), (0, 1), (1, 0), (1, 1)]


def call(pipe: Any, folder: Path, shared: Path) -> None:
    frames = pipe(PROMPT, num_clips=2, num_frames=8, seed=7, **QUICK).frames
    assert frames.dtype == np.float32 and frames.shape == (1, 16, 64, 64, 3)
    assert frames.min() >= 0 and frames.max() <= 1
    others = {
        name: pipe(PROMPT, output_type=name, **QUICK).frames
        for name in ("np", "pil", "pt", "latent", "uint8")
    }
    assert others["np"].dtype == np.float32 and others["uint8"].dtype == np.uint8
    assert isinstance(others["pil"][0][0], Image.Image)
    assert others["pt"].shape == (1, 8, 3, 64, 64) and others["latent"].shape == (1, 4, 8, 8, 8)


def stream(pipe: Any, folder: Path, shared: Path) -> None:
    assert isinstance(pipe.stream(PROMPT, num_clips=2), Iterator)
    assert [clip.shape for clip in pipe.stream(PROMPT, num_clips=2, seam="keep", **QUICK)] == [
        (1, 8, 64, 64, 3)
    ] * 2


def clips_at_once(pipe: Any, folder: Path, shared: Path) -> None:
    assert pipe(PROMPT, num_clips=4, clips_at_once=2, **QUICK).frames.shape[1] == 32


def continue_video(pipe: Any, folder: Path, shared: Path) -> None:
    assert pipe.continue_video(np.zeros((8, 64, 64, 3), np.uint8), PROMPT, num_clips=1, **QUICK) is not None


def from_image_model(pipe: Any, folder: Path, shared: Path) -> None:
    assert callable(type(pipe).from_image_model)


def lora(pipe: Any, folder: Path, shared: Path) -> None:
    assert callable(pipe.load_lora_weights) and callable(pipe.set_adapters)


def metrics(pipe: Any, folder: Path, shared: Path) -> None:
    from vidrd_model.metrics import frechet_distance, inception_score

    rng = np.random.default_rng(0)
    x_nd, y_nd = rng.normal(size=(2, 40, 6))
    assert isinstance(frechet_distance(x_nd, y_nd, ddof=1), float)
    probs_nk = rng.dirichlet(np.ones(5), 40)
    mean, std = inception_score(probs_nk, splits=10, shuffle_seed=42)
    assert mean >= 1 and std >= 0


def i3d(pipe: Any, folder: Path, shared: Path) -> None:
    from tests.i3d_files import i3d_checkpoint
    from vidrd_model.metrics import I3D

    features = I3D.from_weights(i3d_checkpoint())(np.zeros((1, 16, 64, 64, 3), np.uint8))
    assert features.shape == (1, 400)


NAMES: Mapping[str, tuple[Callable[[Any, Path, Path], None], bool]] = {
    "TemporalUNet.from_image_unet": (from_image_unet, True),
    "unet_from_published, vae_from_published": (from_published, True),
    "vae.decode, vae.encode": (vae, True),
    "pipe.sample_latents": (sample_latents, True),
    "pipe(...)": (call, True),
    "pipe.stream": (stream, True),
    "clips_at_once": (clips_at_once, True),
    "pipe.continue_video": (continue_video, True),
    "VidRDPipeline.from_image_model": (from_image_model, True),
    "pipe.load_lora_weights, pipe.set_adapters": (lora, True),
    "frechet_distance, inception_score": (metrics, True),
    "I3D.from_weights": (i3d, True),
}


@pytest.mark.parametrize("name", [_marked((name,), not there, name) for name, (_, there) in NAMES.items()])
def test_every_name_of_the_library_works(name: str, pipe: Any, tmp_path: Path, shared_dir: Path) -> None:
    NAMES[name][0](pipe, tmp_path, shared_dir)
