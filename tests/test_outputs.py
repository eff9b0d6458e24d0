"""What the pipeline gives back, as diffusers' own writers take it, and each output type beside the others."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.utils import export_to_gif, export_to_video
from PIL import Image, ImageSequence

from tasks.clips.video_io import decode_bytes
from tests.quiet_pipeline import quiet_pipeline
from vidrd_model import ModelError, VidRDPipeline
from vidrd_model.baselines import stream_freenoise, stream_overlap

PROMPTS = ["a red circle moving right", "a blue square moving up"]
ASKED: dict[str, Any] = {"num_inference_steps": 3, "guidance_scale": 4.0, "seed": 7, "prompt_frames": 4}
STREAMS = {"vidrd": VidRDPipeline.stream, "overlap": stream_overlap, "freenoise": stream_freenoise}


@pytest.fixture(scope="module")
def pipe(tiny_profile: Any) -> VidRDPipeline:
    return quiet_pipeline(tiny_profile.model)


@pytest.fixture(scope="module")
def videos(pipe: VidRDPipeline) -> dict[str, Any]:
    """One video of two clips in each type; "" is what a user gets who asks for none."""
    asked = {"": {}, **{name: {"output_type": name} for name in ("np", "pil", "pt", "uint8")}}
    return {name: pipe(PROMPTS[0], 2, **chosen, **ASKED).frames for name, chosen in asked.items()}


@pytest.mark.parametrize("output_type", ["", "np", "pil"])
@pytest.mark.parametrize("writer", ["imageio", "opencv"])
def test_diffusers_writes_a_video_in_its_own_colours(
    videos: dict[str, Any], output_type: str, writer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if writer == "opencv":
        monkeypatch.setattr("diffusers.utils.export_utils.is_imageio_available", lambda: False)
    path = export_to_video(videos[output_type][0], str(tmp_path / "video.mp4"), fps=8)
    read, fps = decode_bytes(Path(path).read_bytes())
    wanted_nhwc = videos["uint8"][0].astype(int)
    assert read.shape == wanted_nhwc.shape == (16, 64, 64, 3) and fps == 8
    # A negative of these frames is more than 60 grey levels away; the codecs cost a few.
    assert np.abs(read - wanted_nhwc).mean() < 8
    assert np.abs(255 - wanted_nhwc - wanted_nhwc).mean() > 60


def test_diffusers_writes_a_gif_in_its_own_colours(videos: dict[str, Any], tmp_path: Path) -> None:
    path = export_to_gif(videos["pil"][0], str(tmp_path / "video.gif"))
    with Image.open(path) as gif:
        read = np.stack([np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(gif)])
    assert read.shape == (16, 64, 64, 3)
    assert np.abs(read - videos["uint8"][0].astype(int)).mean() < 5


def test_output_types_hold_the_same_video(pipe: VidRDPipeline, videos: dict[str, Any]) -> None:
    floats, eight_bits, pictures, tensor = (videos[name] for name in ("np", "uint8", "pil", "pt"))
    assert np.array_equal(videos[""], floats)
    assert floats.dtype == np.float32 and floats.min() >= 0 and floats.max() <= 1
    assert eight_bits.dtype == np.uint8 and eight_bits.shape == floats.shape == (1, 16, 64, 64, 3)
    assert np.abs(floats * 255 - eight_bits).max() <= 0.501
    assert [len(video) for video in pictures] == [16]
    assert np.array_equal(
        np.array([[np.asarray(image) for image in video] for video in pictures]), eight_bits
    )
    assert isinstance(tensor, torch.Tensor) and tensor.device == pipe.device
    assert np.array_equal(tensor.permute(0, 1, 3, 4, 2).numpy(), floats)


def test_a_crossfade_blends_floats_as_it_blends_eight_bits(pipe: VidRDPipeline) -> None:
    asked = ASKED | {"num_inference_steps": 2, "seam": "crossfade"}
    floats, eight_bits = (pipe(PROMPTS[0], 2, output_type=name, **asked).frames for name in ("np", "uint8"))
    assert floats.shape == eight_bits.shape == (1, 12, 64, 64, 3)
    assert np.abs(floats * 255 - eight_bits).max() <= 1.01  # eight bits are rounded twice


def test_latents_are_what_the_frames_are_decoded_from(pipe: VidRDPipeline, videos: dict[str, Any]) -> None:
    latents = pipe(PROMPTS[0], 2, output_type="latent", **ASKED).frames
    assert latents.shape == (1, 4, 16, 8, 8) and latents.dtype == torch.float32
    decoded = torch.cat([pipe.decode_latents(clip) for clip in latents.split(8, dim=2)], dim=1)
    assert np.array_equal(decoded.numpy(), videos["np"])
    parts = {"unet": pipe.unet, "scheduler": pipe.scheduler, "text_encoder": pipe.text_encoder}
    without = VidRDPipeline(**parts, sampling=pipe.config.sampling)
    without.tokenizer = pipe.tokenizer
    without.set_progress_bar_config(disable=True)
    assert torch.equal(without(PROMPTS[0], 2, output_type="latent", **ASKED).frames, latents)


@pytest.mark.parametrize("name", STREAMS)
def test_streams_take_the_output_types(pipe: VidRDPipeline, name: str) -> None:
    quick = ASKED | {"num_inference_steps": 2}

    @cache
    def first(output_type: str) -> Any:
        return next(STREAMS[name](pipe, PROMPTS[:1], 2, output_type=output_type, **quick))

    assert np.array_equal(first("uint8"), (first("np") * 255).round().astype(np.uint8))
    assert np.array_equal(np.asarray(first("pil")[0][7]), first("uint8")[0, 7])
    assert np.array_equal(first("pt").permute(0, 1, 3, 4, 2).numpy(), first("np"))
    if name == "vidrd":
        assert first("latent").shape == (1, 4, 8, 8, 8)
    else:
        with pytest.raises(ModelError, match="output_type must be one of np, pil, pt, uint8, not 'latent'"):
            first("latent")


@pytest.mark.parametrize("output_type", ["np", "uint8", "pil", "pt", "latent"])
def test_a_video_interrupted_at_once_has_no_frames(pipe: VidRDPipeline, output_type: str) -> None:
    def stop(pipeline: Any, step: int, timestep: Any, kwargs: dict[str, Any]) -> None:
        pipeline.interrupt = True

    frames = pipe(PROMPTS, 2, output_type=output_type, callback_on_step_end=stop, **ASKED).frames
    assert len(frames) == 2
    counts = [len(video) for video in frames] if output_type != "latent" else [frames.shape[2]]
    assert set(counts) == {0}
