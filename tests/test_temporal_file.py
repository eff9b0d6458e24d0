"""Temporal layers as a file: exported where the image layers were left alone, put into other image models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tasks.tiny.world.drawing import random_scene
from tests.frame_reading import object_mask, read_clip
from tests.quiet_pipeline import quiet_pipeline
from tests.recoloured_model import image_model, write_recoloured_model
from vidrd_model import ModelError, TemporalUNet, VidRDPipeline
from vidrd_model.temporal_file import image_digest, read_temporal_layers, write_temporal_layers

QUICK: dict[str, Any] = {"num_inference_steps": 1, "guidance_scale": 1.0, "seed": 7}
PROMPT = "a red circle moving right"
VIDEOS, RIGHT, COLOUR_LEVELS = 32, 28, 20


@pytest.fixture(scope="module")
def tiny(tiny_profile: Any) -> VidRDPipeline:
    return quiet_pipeline(tiny_profile.model)


@pytest.fixture(scope="module")
def layers(tiny: VidRDPipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("layers") / "layers.safetensors"
    write_temporal_layers(tiny, tiny, path, "tiny/model", "tiny/model")
    return path


@pytest.fixture(scope="module")
def image_folder(tiny: VidRDPipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image layers of the embedded model as a Stable Diffusion folder."""
    folder = tmp_path_factory.mktemp("image") / "sd"
    image_model(tiny).save_pretrained(folder)
    return folder


def _copy(pipe: VidRDPipeline) -> VidRDPipeline:
    """Another pipeline with weights of its own."""
    unet = TemporalUNet.from_config(pipe.unet.config)
    unet.load_state_dict(pipe.unet.state_dict())
    vae = type(pipe.vae).from_config(pipe.vae.config)
    vae.load_state_dict(pipe.vae.state_dict())
    return VidRDPipeline(unet, pipe.scheduler, vae, pipe.text_encoder, pipe.tokenizer)


def test_image_layers_and_the_file_make_the_model_again(
    tiny: VidRDPipeline, layers: Path, image_folder: Path
) -> None:
    again = VidRDPipeline.from_image_model(image_folder, temporal=layers)
    again.set_progress_bar_config(disable=True)
    assert all(torch.equal(v, again.unet.state_dict()[k]) for k, v in tiny.unet.state_dict().items())
    assert again.config.sampling == tiny.config.sampling
    wanted, found = (pipe(PROMPT, **QUICK).frames for pipe in (tiny, again))
    np.testing.assert_array_equal(wanted, found)
    assert not any("temp_" not in name for name in load_file(layers))


def test_without_a_file_every_frame_is_the_image_models(image_folder: Path) -> None:
    pipe = VidRDPipeline.from_image_model(str(image_folder), seam="crossfade")
    assert pipe.config.seam == "crossfade" and pipe.unet.config.frame_embedding == "attention"
    assert not pipe.unet.down_blocks[0].temp_convs[0].convs[-1].weight.any()
    half = VidRDPipeline.from_image_model(image_folder, dtype=torch.float16)
    assert half.unet.dtype == half.vae.dtype == half.text_encoder.dtype == torch.float16


def test_the_digest_is_of_the_image_layers_alone(
    tiny: VidRDPipeline, layers: Path, image_folder: Path
) -> None:
    image = UNet2DConditionModel.from_pretrained(image_folder / "unet")
    digest = read_temporal_layers(layers).facts.base_digest
    assert digest == image_digest(image) == image_digest(tiny.unet)
    other = _copy(tiny)
    other.unet.reset_temporal_layers(1)
    assert image_digest(other.unet) == digest
    torch.nn.init.ones_(other.unet.conv_in.bias)
    assert image_digest(other.unet) != digest


@pytest.mark.parametrize("trained", ["temporal", "paper", "all"])
def test_only_layers_trained_beside_frozen_ones_are_exported(
    tiny: VidRDPipeline, tmp_path: Path, trained: str
) -> None:
    model, out = _copy(tiny), tmp_path / "out.safetensors"
    names = set(model.unet.set_trainable(trained))
    with torch.no_grad():
        for name, parameter in model.unet.named_parameters():
            if name in names:
                parameter += 0.01
    if trained == "temporal":
        write_temporal_layers(model, tiny, out, "mine", "tiny/model")
        stored = load_file(out)["unet.down_blocks.0.temp_convs.0.convs.3.weight"]
        assert torch.equal(stored, model.unet.down_blocks[0].temp_convs[0].convs[3].weight)
        return
    first = {"paper": r"\S*attn1\.to_q\.weight", "all": r"conv_in\.weight"}[trained]
    with pytest.raises(ModelError, match=rf"^mine: .* not those of tiny/model \({first} the first"):
        write_temporal_layers(model, tiny, out, "mine", "tiny/model")
    assert not list(tmp_path.iterdir())


def test_a_model_kept_in_half_precision_counts_as_untouched(tiny: VidRDPipeline, tmp_path: Path) -> None:
    base, model = _copy(tiny), _copy(tiny)
    with torch.no_grad():
        for parameter in base.unet.parameters():
            parameter *= 1 + 2**-13  # what half precision does not hold
        for name, parameter in model.unet.named_parameters():
            if "temp_" not in name:
                parameter.copy_(base.unet.get_parameter(name).half())
    write_temporal_layers(model, base, tmp_path / "out.safetensors", "mine", "base")


def test_layers_of_the_decoder_are_in_the_file_once_they_are_trained(
    tiny: VidRDPipeline, tmp_path: Path, layers: Path, image_folder: Path
) -> None:
    assert not read_temporal_layers(layers).facts.decoder
    model, out = _copy(tiny), tmp_path / "out.safetensors"
    model.vae.register_to_config(decode_window=8)
    torch.nn.init.ones_(model.vae.decoder.up_blocks[0].temp_convs[0].convs[-1].bias)
    write_temporal_layers(model, tiny, out, "mine", "tiny/model")
    again = VidRDPipeline.from_image_model(image_folder, temporal=out)
    assert read_temporal_layers(out).facts.decoder and again.vae.config.decode_window == 8
    assert all(torch.equal(v, again.vae.state_dict()[k]) for k, v in model.vae.state_dict().items())


def test_the_file_names_its_frame_embedding(tiny: VidRDPipeline, tmp_path: Path, image_folder: Path) -> None:
    model, out = _copy(tiny), tmp_path / "out.safetensors"
    model.unet.register_to_config(frame_embedding="residual")
    write_temporal_layers(model, tiny, out, "mine", "tiny/model")
    with safe_open(out, framework="pt") as file:
        assert json.loads(file.metadata()["vidrd_temporal_layers"])["frame_embedding"] == "residual"
    assert (
        VidRDPipeline.from_image_model(image_folder, temporal=out).unet.config.frame_embedding == "residual"
    )


def test_shapes_that_do_not_fit_are_named(layers: Path, image_folder: Path, tmp_path: Path) -> None:
    tensors = load_file(layers)
    with safe_open(layers, framework="pt") as file:
        header = file.metadata()
    name = "unet.mid_block.temp_convs.0.convs.3.bias"
    for change, says in (
        (
            {name: torch.zeros(7)},
            r"mid_block\.temp_convs\.0\.convs\.3\.bias is \(7,\) in the file and \(128,\)",
        ),
        (
            {"unet.down_blocks.9.temp_convs.0.convs.3.bias": torch.zeros(7)},
            "down_blocks.9.* is not in the model",
        ),
        ({name: None}, r"mid_block\.temp_convs\.0\.convs\.3\.bias is not in the file"),
    ):
        out = tmp_path / "other.safetensors"
        save_file({k: v for k, v in (tensors | change).items() if v is not None}, out, metadata=header)
        with pytest.raises(ModelError, match=rf"other\.safetensors: does not fit the UNet of .*sd: {says}"):
            VidRDPipeline.from_image_model(image_folder, temporal=out)


def test_what_is_no_such_file_or_model_is_refused_by_name(
    tiny_profile: Any, layers: Path, image_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "page.safetensors").write_text("<html>")
    save_file({"unet.x": torch.zeros(1)}, tmp_path / "other.safetensors")
    for name, says in (
        ("page.safetensors", "no file of temporal layers"),
        ("other.safetensors", "holds no temporal layers"),
        ("nowhere.safetensors", "there is no such file"),
    ):
        with pytest.raises(ModelError, match=rf"{name}: {says}"):
            VidRDPipeline.from_image_model(image_folder, temporal=tmp_path / name)
    with pytest.raises(ModelError, match="its UNet is a TemporalUNet"):
        VidRDPipeline.from_image_model(tiny_profile.model, temporal=layers)
    with pytest.raises(ModelError, match="nowhere: no model folder"):
        VidRDPipeline.from_image_model(tmp_path / "nowhere", temporal=layers)


def test_layers_for_another_target_are_told_apart(
    layers: Path, tiny: VidRDPipeline, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    image = image_model(tiny)
    image.scheduler = type(tiny.scheduler).from_config(tiny.scheduler.config, prediction_type="v_prediction")
    image.save_pretrained(tmp_path / "v")
    with caplog.at_level("WARNING"):
        VidRDPipeline.from_image_model(tmp_path / "v", temporal=layers)
    assert any("predicts v_prediction" in message for message in caplog.messages)


def _moving(pipe: VidRDPipeline, prompts: list[str]) -> list[np.ndarray]:
    pipe.set_progress_bar_config(disable=True)
    batches = [list(range(start, start + 8)) for start in range(0, len(prompts), 8)]
    return [
        video
        for batch in batches
        for video in pipe([prompts[i] for i in batch], seed=batch, output_type="uint8").frames
    ]


def _object_colour(frames_nhwc: np.ndarray) -> np.ndarray:
    """The mean over the object's pixels of all frames."""
    return frames_nhwc[np.stack([object_mask(frame) for frame in frames_nhwc])].mean(axis=0)


@pytest.mark.slow
def test_layers_of_one_image_model_move_the_pictures_of_another(
    tiny_profile: Any, tiny: VidRDPipeline, layers: Path, tmp_path: Path
) -> None:
    """The other's colours and shapes, moving as the text says."""
    write_recoloured_model(tmp_path / "sd", tiny_profile.model)
    pipe = VidRDPipeline.from_image_model(tmp_path / "sd", temporal=layers)
    rng = np.random.default_rng(32)
    scenes = [random_scene(rng) for _ in range(VIDEOS)]
    prompts = [scene.caption for scene in scenes]
    own, others = _moving(tiny, prompts), _moving(pipe, prompts)
    right = sum(
        read_clip(video).direction == scene.direction for video, scene in zip(others, scenes, strict=True)
    )
    colours = [np.array([_object_colour(frames) for frames in videos]) for videos in (own, others)]
    apart = np.abs(colours[0] - colours[1]).mean()
    print(f"direction right in {right} of {VIDEOS}, mean colour {apart:.0f} levels apart")
    assert right >= RIGHT and apart > COLOUR_LEVELS
