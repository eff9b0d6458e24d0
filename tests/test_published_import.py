"""The authors' release becomes one diffusers folder: the goldens' weights, wrapped as the release wraps them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer
from typer.testing import CliRunner

from flows.cli.app import app
from tests.test_goldens_model import GOLDENS
from vidrd_model import ModelError, VidRDPipeline
from vidrd_model.published import import_release, load_weights

pytestmark = pytest.mark.skipif(not GOLDENS.is_dir(), reason="shared/goldens/vidrd is not beside the project")

IMAGE_UNET = ("in_channels", "out_channels", "layers_per_block", "norm_num_groups", "norm_eps", "freq_shift")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, tiny_profile: Any) -> Path:
    """A Stable Diffusion folder whose parts have the goldens' shapes and weights of their own."""
    folder = tmp_path_factory.mktemp("sd") / "base"
    config = json.loads((GOLDENS / "unet_a.json").read_text())["config"]
    unet = UNet2DConditionModel(
        **{key: config[key] for key in IMAGE_UNET if key in config},
        sample_size=16,
        block_out_channels=config["block_out_channels"],
        attention_head_dim=config["attention_head_dim"],
        cross_attention_dim=config["cross_attention_dim"],
        use_linear_projection=config["use_linear_projection"],
        down_block_types=[kind.replace("3D", "2D") for kind in config["down_block_types"]],
        up_block_types=[kind.replace("3D", "2D") for kind in config["up_block_types"]],
    )
    tokenizer = CLIPTokenizer.from_pretrained(f"{tiny_profile.model}/tokenizer")
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=config["cross_attention_dim"],
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=tokenizer.model_max_length,
    )
    vae = json.loads((GOLDENS / "vae_a.json").read_text())["config"]
    known = AutoencoderKL._get_init_keys(AutoencoderKL)
    StableDiffusionPipeline(
        unet=unet,
        vae=AutoencoderKL(**{key: value for key, value in vae.items() if key in known}),
        text_encoder=CLIPTextModel(text),
        tokenizer=tokenizer,
        scheduler=DDIMScheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder


@pytest.fixture
def release(tmp_path: Path) -> tuple[Path, Path]:
    """`ModelT2V.pth`, a Lightning checkpoint, and `vae_finetuned/`, both of the goldens' tensors."""
    weights = load_file(GOLDENS / "unet_a.weights.safetensors")
    checkpoint = {
        "epoch": 3,
        "global_step": 12,
        "pytorch-lightning_version": "1.9.4",
        "state_dict": weights,
        "optimizer_states": [],
    }
    torch.save(checkpoint, tmp_path / "ModelT2V.pth")
    vae = tmp_path / "vae_finetuned"
    vae.mkdir()
    torch.save(load_file(GOLDENS / "vae_a.weights.safetensors"), vae / "diffusion_pytorch_model.bin")
    config = json.loads((GOLDENS / "vae_a.json").read_text())["config"]
    (vae / "config.json").write_text(json.dumps(config))
    return tmp_path / "ModelT2V.pth", vae


@torch.no_grad()
@pytest.mark.slow
@pytest.mark.gate
def test_the_goldens_in_the_releases_layout_import_and_match(
    base: Path, release: Any, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "flows.cli", "weights", "import", "--unet", str(release[0])]
    command += ["--vae", str(release[1]), "--base", str(base), "--out", str(tmp_path / "model")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(tmp_path / "model")

    pipe = VidRDPipeline.from_pretrained(tmp_path / "model")
    io, vae_io = load_file(GOLDENS / "unet_a.io.safetensors"), load_file(GOLDENS / "vae_a.io.safetensors")
    out = pipe.unet(io["sample"], io["timestep"], io["encoder_hidden_states"]).sample
    torch.testing.assert_close(out, io["out"], atol=1e-4, rtol=0)
    decoded = pipe.vae.decode(vae_io["z"], num_frames=8).sample
    torch.testing.assert_close(decoded, vae_io["decode_f8"], atol=1e-4, rtol=0)
    assert pipe.unet.config.frame_embedding == "residual"
    assert not list((tmp_path / "model").rglob("*.bin"))
    assert pipe(["a red circle"], num_inference_steps=1, height=32, width=32).frames.shape == (
        1,
        8,
        32,
        32,
        3,
    )


def test_a_text_encoder_in_the_checkpoint_replaces_the_bases(
    base: Path, release: Any, tmp_path: Path
) -> None:
    text = CLIPTextModel.from_pretrained(base / "text_encoder")
    checkpoint = torch.load(release[0], weights_only=True)
    for key, value in text.state_dict().items():
        checkpoint["state_dict"][f"text_encoder.text_model.{key}"] = value + 1.0
    # Older transformers saved this buffer; it holds no weights.
    checkpoint["state_dict"]["text_encoder.text_model.embeddings.position_ids"] = torch.arange(77)[None]
    torch.save(checkpoint, release[0])
    asked = ["--unet", release[0], "--base", base, "--out", tmp_path / "model"]
    done = CliRunner().invoke(app, ["weights", "import", *map(str, asked), "--dry-run"])
    assert done.exit_code == 0 and not (tmp_path / "model").exists()
    pipe = import_release(release[0], None, base, tmp_path / "model")
    for key, value in pipe.text_encoder.state_dict().items():
        torch.testing.assert_close(value, text.state_dict()[key] + 1.0)
    image_vae = AutoencoderKL.from_pretrained(base / "vae")
    for key, value in image_vae.state_dict().items():
        assert torch.equal(pipe.vae.state_dict()[key], value)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda w: w.pop("unet.conv_in.bias"), r"missing \['conv_in.bias'\]"),
        (lambda w: w.update({"unet.new.weight": torch.zeros(1)}), r"unknown \['new.weight'\]"),
        (lambda w: w.update({"unet.conv_in.bias": torch.zeros(3)}), r"misshapen \['conv_in.bias'\]"),
        (lambda w: w.update({"ema.conv_in.bias": torch.zeros(3)}), r"unknown \['ema.conv_in.bias'\]"),
        (lambda w: w.update({"text_encoder.a": torch.zeros(3)}), r"unknown \['a'\]"),
    ],
)
def test_keys_that_do_not_fit_are_listed_and_nothing_is_written(
    base: Path, release: Any, tmp_path: Path, change: Any, named: str
) -> None:
    checkpoint = torch.load(release[0], weights_only=True)
    change(checkpoint["state_dict"])
    torch.save(checkpoint, release[0])
    with pytest.raises(ModelError, match=named):
        import_release(release[0], release[1], base, tmp_path / "model")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ModelT2V.pth", "vae_finetuned"]


class Payload:
    """What an attacker would put into a pickle."""


def test_files_that_need_more_than_tensors_are_refused_by_name(
    base: Path, release: Any, tmp_path: Path
) -> None:
    torch.save({"state_dict": load_weights(release[0]), "hook": Payload()}, tmp_path / "evil.pth")
    with pytest.raises(ModelError, match=r"evil\.pth: refused"):
        import_release(tmp_path / "evil.pth", None, base, tmp_path / "model")
    (tmp_path / "text.pth").write_text("no checkpoint")
    with pytest.raises(ModelError, match=r"text\.pth: refused"):
        load_weights(tmp_path / "text.pth")
    with pytest.raises(ModelError, match=r"none\.pth: cannot be read"):
        load_weights(tmp_path / "none.pth")
    shutil.rmtree(release[1])
    with pytest.raises(ModelError, match=r"config\.json"):
        import_release(release[0], release[1], base, tmp_path / "model")
    with pytest.raises(ModelError, match="no Stable Diffusion folder"):
        import_release(release[0], None, tmp_path, tmp_path / "model")
    (tmp_path / "model").mkdir()
    with pytest.raises(ModelError, match="is there already"):
        import_release(release[0], None, base, tmp_path / "model")
