"""Video models from Stable Diffusion folders: what a fresh one computes, and how large the full size is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from tests.plain_unet import plain_unet
from tests.test_parity_unet import random_weights
from vidrd_model import ModelError, TemporalUNet, TemporalVAE
from vidrd_model.image_models import split_revision

FAMILIES: dict[str, dict[str, Any]] = {
    "sd15": {"attention_head_dim": 4, "use_linear_projection": False},
    "sd2": {"attention_head_dim": (1, 2), "use_linear_projection": True},
}


def _image_unet(family: str) -> UNet2DConditionModel:
    unet = UNet2DConditionModel(
        block_out_channels=(32, 64),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=16,
        **FAMILIES[family],
    )
    random_weights(unet, 1)
    return unet.eval()


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_a_fresh_video_unet_is_the_image_unet(family: str) -> None:
    """In double precision, so that nothing but the order of additions can differ."""
    image = _image_unet(family).double()
    video = TemporalUNet.from_image_unet(image)
    frame, text = torch.randn(2, 4, 1, 9, 12).double(), torch.randn(2, 5, 16).double()
    wanted = image(frame[:, :, 0], 30, text).sample[:, :, None]
    torch.testing.assert_close(video(frame, 30, text).sample, wanted, atol=1e-12, rtol=0)
    repeated = video(frame.expand(-1, -1, 6, -1, -1), 30, text).sample
    torch.testing.assert_close(repeated, wanted.expand_as(repeated), atol=1e-12, rtol=0)


@torch.no_grad()
def test_with_distinct_frames_only_the_norms_pool() -> None:
    """For distinct frames a fresh model is the image model with GroupNorm over all frames: no temporal layer acts."""
    video = TemporalUNet.from_image_unet(_image_unet("sd2"))
    frames, text, step = torch.randn(1, 4, 5, 8, 8), torch.randn(1, 5, 16), torch.tensor([30])
    spatial = {key: value for key, value in video.state_dict().items() if "temp_" not in key}
    wanted = plain_unet(video.config, spatial, frames, step, text)
    torch.testing.assert_close(video(frames, step, text).sample, wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("safe", [True, False])
def test_folders_of_either_file_kind_load(tmp_path: Path, safe: bool) -> None:
    image, vae = _image_unet("sd15"), AutoencoderKL(block_out_channels=(32,))
    image.save_pretrained(tmp_path / "model" / "unet", safe_serialization=safe)
    vae.save_pretrained(tmp_path / "model" / "vae", safe_serialization=safe)
    for source in (tmp_path / "model", tmp_path / "model" / "unet"):
        video = TemporalUNet.from_image_unet(source)
        assert torch.equal(video.conv_in.weight, image.conv_in.weight) and not video.training
    loaded = TemporalVAE.from_image_vae(tmp_path / "model")
    assert torch.equal(loaded.decoder.conv_in.weight, vae.decoder.conv_in.weight)


class Payload:
    """What an attacker would put into a pickle."""


def test_a_bin_that_is_more_than_tensors_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model" / "unet"
    _image_unet("sd2").save_pretrained(folder, safe_serialization=False)
    torch.save({"conv_in.weight": Payload()}, folder / "diffusion_pytorch_model.bin")
    with pytest.raises(ModelError, match="model: its unet cannot be loaded"):
        TemporalUNet.from_image_unet(tmp_path / "model")
    with pytest.raises(ModelError, match="nowhere"):
        TemporalVAE.from_image_vae(tmp_path / "nowhere")


def test_a_hub_id_may_name_its_revision(tmp_path: Path) -> None:
    assert split_revision("org/model@abc123") == ("org/model", "abc123")
    assert split_revision("org/model") == ("org/model", None)
    folder = tmp_path / "my@folder"
    folder.mkdir()
    assert split_revision(folder) == (str(folder), None)


def test_the_full_size_is_the_published_one() -> None:
    """Stable Diffusion 2.1's widths: 1182.4 M parameters, 316.5 M temporal, 416.4 M in the paper's trainable set."""
    with torch.device("meta"):
        unet = TemporalUNet(attention_head_dim=(5, 10, 20, 20))
        vae = TemporalVAE(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
        )
    assert _millions(unet) == 1182.4 and _millions(vae) == 100.1
    for name, millions in (("temporal", 316.5), ("paper", 416.4), ("all", 1182.4)):
        assert _millions(unet, set(unet.set_trainable(name))) == millions
    assert _millions(vae, set(vae.set_trainable_temporal())) == 16.4


def _millions(model: torch.nn.Module, names: set[str] | None = None) -> float:
    sizes = (p.numel() for name, p in model.named_parameters() if names is None or name in names)
    return round(sum(sizes) / 1e6, 1)
