"""`vidrd weights export --temporal`: a file and its card, or one line that says why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard

from flows.cli.app import app
from tests.recoloured_model import image_model
from vidrd_model import VidRDPipeline
from vidrd_model.errors import VidrdError
from vidrd_model.temporal_file import image_digest, read_temporal_layers


def _export(*arguments: object) -> None:
    app(["weights", "export", *map(str, arguments)], standalone_mode=False)


def test_the_embedded_models_layers_are_exported_with_a_card(
    tmp_home: Path, tiny_profile: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "layers.safetensors"
    _export("--temporal", "--model", tiny_profile.model, "--out", out)
    assert capsys.readouterr().out.split()[-1] == str(out)
    layers = read_temporal_layers(out)
    pipe = VidRDPipeline.from_pretrained(tiny_profile.model)
    assert layers.facts.base_digest == image_digest(pipe.unet) and layers.facts.base == "tiny/model"
    card = ModelCard.load(out.with_suffix(".md"))
    assert card.data.license == "apache-2.0" and card.data.base_model == "tiny/model"
    assert (
        layers.facts.base_digest in card.text and "attention" in card.text and str(tmp_path) not in card.text
    )
    image = tmp_path / "sd"
    image_model(pipe).save_pretrained(image)
    assert VidRDPipeline.from_image_model(image, temporal=out).config.sampling == pipe.config.sampling
    with pytest.raises(VidrdError, match=r"layers\.safetensors: is there already"):
        _export("--temporal", "--model", tiny_profile.model, "--out", out)
    other = tmp_path / "other.safetensors"
    _export("--temporal", "--model", tiny_profile.model, "--out", other, "--base", image)
    assert read_temporal_layers(other).facts.base_digest == layers.facts.base_digest


def test_what_cannot_be_exported_is_one_line(tmp_home: Path, tiny_profile: Any, tmp_path: Path) -> None:
    pipe = VidRDPipeline.from_pretrained(tiny_profile.model)
    torch.nn.init.zeros_(pipe.unet.down_blocks[0].attentions[0].transformer_blocks[0].attn2.to_k.weight)
    pipe.save_pretrained(tmp_path / "paper")
    out = tmp_path / "layers.safetensors"
    for arguments, says in (
        (["--temporal", "--model", tmp_path / "paper", "--out", out], r"attn2\.to_k\.weight the first"),
        (["--model", tiny_profile.model, "--out", out], "--temporal"),
        (
            ["--temporal", "--model", tiny_profile.model, "--out", tmp_path / "layers.bin"],
            r"must end in \.safetensors",
        ),
        (["--temporal", "--model", tmp_path, "--out", out], "no model folder"),
    ):
        with pytest.raises(VidrdError, match=says) as caught:
            _export(*arguments)
        assert "\n" not in str(caught.value)
    assert not out.exists()
