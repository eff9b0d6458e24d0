"""`vidrd generate --lora`: which files are asked for, what they do to a video, and what its file says of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import save_file

from flows.generate.loras import read_loras, shown_loras
from flows.generate.request import GenerateParams, read_request
from tasks.errors import RequestError
from tasks.generation.asked import AskedVideos
from tasks.generation.generate import stream_videos
from tasks.generation.loras import WeightedLora
from tests.lora_files import kohya_file, random_lora
from vidrd_model import ModelError, VidRDPipeline


@pytest.fixture(scope="module")
def style(tiny_profile: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA of the embedded UNet's attention."""
    unet = VidRDPipeline.from_pretrained(tiny_profile.model).unet
    lora = random_lora(unet, 5, lambda name: ".attn1.to_v" in name or ".attn2.to_q" in name)
    file = tmp_path_factory.mktemp("lora") / "style.safetensors"
    save_file(kohya_file(lora, {}), file)
    return file


def _frames(profile: Any, *loras: WeightedLora) -> np.ndarray:
    quick = profile.sampling.model_copy(update={"num_inference_steps": 2})
    stream = stream_videos(AskedVideos(Path(profile.model), ["a red circle"], [7], 1, quick, "cpu", loras))
    return next(frames for _, frames in stream if frames is not None).astype(int)


def test_files_and_weights_are_read_and_refused_by_name(style: Path, tmp_path: Path) -> None:
    assert read_loras([str(style), f"{style}:-0.5"]) == (WeightedLora(style), WeightedLora(style, -0.5))
    odd = tmp_path / "a:1"
    odd.write_bytes(b"")
    assert read_loras([str(odd)]) == (WeightedLora(odd),)
    for given, says in ((f"{style}:much", "'much' is no weight"), ("nowhere.safetensors:1", "no such file")):
        with pytest.raises(RequestError, match=f"^lora: .*{says}"):
            read_loras([given])


def test_a_video_says_which_files_made_it(
    tmp_home: Path, tiny_profile: Any, style: Path, tmp_path: Path
) -> None:
    """By name and content: another file of that name is another request, and none leaves no word."""
    asked = {"prompt": "a red circle", "model": tiny_profile.model, "out": tmp_path / "v.mp4"}
    request = read_request(GenerateParams(**asked, lora=[f"{style}:0.5"]))
    (said,) = request.made_of(0)["lora"]
    assert said["file"] == "style.safetensors" and said["weight"] == 0.5
    other = tmp_path / "style.safetensors"
    other.write_bytes(b"other")
    assert shown_loras([WeightedLora(other, 0.5)])[0]["digest"] != said["digest"]
    assert "lora" not in read_request(GenerateParams(**asked)).made_of(0)


def test_a_lora_changes_the_video_by_its_weight(tiny_profile: Any, style: Path, tmp_path: Path) -> None:
    plain = _frames(tiny_profile)
    once, off = _frames(tiny_profile, WeightedLora(style)), _frames(tiny_profile, WeightedLora(style, 0))
    assert np.abs(off - plain).max() <= 1 and np.abs(once - plain).mean() > 1
    twice = _frames(tiny_profile, WeightedLora(style, 0.5), WeightedLora(style, 0.5))
    assert np.abs(twice - once).max() <= 2
    (tmp_path / "page.safetensors").write_text("<html>")
    with pytest.raises(ModelError, match=r"page\.safetensors"):
        _frames(tiny_profile, WeightedLora(tmp_path / "page.safetensors"))
