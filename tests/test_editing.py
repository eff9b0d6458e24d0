"""Edits of a given video: which steps are run on it, what its clips share, how long it is, and what is refused."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from PIL import Image

from tests.continued_videos import scenes_and_clips
from tests.quiet_pipeline import quiet_pipeline
from vidrd_model import ModelError, VidRDPipeline
from vidrd_model.call_arguments import CallArguments
from vidrd_model.call_settings import CallSettings
from vidrd_model.continuing import encoded
from vidrd_model.editing import EditedVideo
from vidrd_model.frame_times import clips_over
from vidrd_model.given_frames import covering
from vidrd_model.noise import clip_noise, step_generators
from vidrd_model.sampling import ClipSampler, ClipToSample
from vidrd_model.sampling_options import SamplingOptions
from vidrd_model.stepper import Stepper

PROMPT = "a blue square moving up"
QUICK: dict[str, Any] = {"num_inference_steps": 5, "guidance_scale": 1.0, "seed": 7, "prompt_frames": 3}


@pytest.fixture(scope="module")
def pipe(small_model: Path) -> VidRDPipeline:
    return quiet_pipeline(small_model)


@pytest.fixture(scope="module")
def video_nhwc() -> np.ndarray:
    """A drawn scene in the size of the small model."""
    return np.ascontiguousarray(scenes_and_clips(3, 1, 18)[1][0, :, ::4, ::4])


def with_scheduler(pipe: VidRDPipeline, name: str) -> VidRDPipeline:
    other = VidRDPipeline(**pipe.components)
    other.set_progress_bar_config(disable=True)
    more = {"skip_prk_steps": True} if name == "PNDMScheduler" else {}
    other.scheduler = getattr(diffusers, name).from_config(pipe.scheduler.config, **more)
    return other


@pytest.mark.parametrize("size", [(16, 16), (16, 40), (7, 9)])
def test_scaled_frames_stay_between_black_and_white(size: tuple[int, int]) -> None:
    """Bicubic weights overshoot at edges."""
    rng = np.random.default_rng(0)
    frames_nhwc = torch.from_numpy(rng.integers(0, 2, (3, 12, 20, 3)).astype(np.float32))
    scaled_nhwc = covering(frames_nhwc, *size)
    assert scaled_nhwc.shape == (3, *size, 3)
    assert float(scaled_nhwc.min()) >= 0 and float(scaled_nhwc.max()) <= 1


@pytest.mark.parametrize("frames", [8, 9, 13, 14, 18])
def test_a_video_is_lengthened_to_whole_clips_and_no_further(
    pipe: VidRDPipeline, video_nhwc: np.ndarray, frames: int
) -> None:
    asked = CallArguments(prompt=PROMPT, video=video_nhwc[:frames])
    edited = EditedVideo.of(pipe, asked, CallSettings(prompt_frames=3), 1)
    assert edited is not None and edited.num_shown == frames
    assert edited.latents_bcnhw.shape[2] == edited.num_clips * 5 + 3
    last = edited.of_clip(edited.num_clips - 1)
    assert last.shape[2] == 8 and torch.equal(last, edited.latents_bcnhw[:, :, -8:])


@pytest.mark.parametrize(("strength", "steps_run"), [(0.2, 1), (0.58, 2), (0.6, 3), (1.0, 5)])
def test_a_clip_is_that_of_diffusers_own_image_to_image(
    pipe: VidRDPipeline, video_nhwc: np.ndarray, strength: float, steps_run: int
) -> None:
    clip_nhwc = video_nhwc[:8]
    got = pipe(PROMPT, video=clip_nhwc, strength=strength, output_type="latent", **QUICK).frames
    scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    scheduler.set_timesteps(5)
    text_btd = pipe.encode_prompt([PROMPT])
    with torch.no_grad():
        clean = encoded(pipe, torch.from_numpy(clip_nhwc[None]).float() / 255)
        timesteps = scheduler.timesteps[-steps_run:]
        x = scheduler.add_noise(clean, clip_noise([7], [PROMPT], 0, tuple(clean.shape[1:])), timesteps[:1])
        for timestep in timesteps:
            target = pipe.unet(x, timestep, encoder_hidden_states=text_btd).sample
            x = scheduler.step(target, timestep, x).prev_sample
    torch.testing.assert_close(got, x, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "name",
    [
        "DDIMScheduler",
        "EulerDiscreteScheduler",
        "EulerAncestralDiscreteScheduler",
        "DPMSolverMultistepScheduler",
        "UniPCMultistepScheduler",
        "PNDMScheduler",
        "HeunDiscreteScheduler",
        "LCMScheduler",
    ],
)
def test_neighbours_share_their_frames_in_every_step(
    pipe: VidRDPipeline, video_nhwc: np.ndarray, name: str
) -> None:
    other = with_scheduler(pipe, name)
    with torch.no_grad():
        given = encoded(other, torch.from_numpy(video_nhwc[None]).float() / 255)
    text_btd = other.encode_prompt([PROMPT])
    options = SamplingOptions(5, guidance_scale=1.0, prompt_frames=3, alpha=1.0, strength=0.6)
    went_in: dict[int, list[torch.Tensor]] = {0: [], 1: [], 2: []}

    def clips() -> list[ClipToSample]:
        return [
            ClipToSample(
                clip_noise([7], [PROMPT], clip, (4, 8, 4, 4)),
                text_btd,
                generators=step_generators([7], [PROMPT], clip),
                on_step_start=lambda _, latents, into=into: into.append(latents),
                clean_bcnhw=given[:, :, 5 * clip : 5 * clip + 8],
            )
            for clip, into in went_in.items()
        ]

    sampler = ClipSampler(other.unet, other.scheduler, options)
    one_by_one = [sampler.next_clip(clip) for clip in clips()]
    # PNDM has a step more, to warm up; Heun has two for each but the last.
    wanted = {"PNDMScheduler": 4, "HeunDiscreteScheduler": 5}.get(name, 3)
    assert [len(steps) for steps in went_in.values()] == [wanted] * 3
    for past, clip in [*zip(went_in[0], went_in[1], strict=True), *zip(went_in[1], went_in[2], strict=True)]:
        assert torch.equal(past[:, :, 5:], clip[:, :, :3]) and not torch.equal(past[:, :, 4], clip[:, :, 3])
    together = ClipSampler(other.unet, other.scheduler, options).next_window(clips())
    for one, another in zip(one_by_one, together, strict=True):
        torch.testing.assert_close(one, another, rtol=0, atol=1e-3 * float(one.std()))


@pytest.mark.parametrize("frames", [8, 9, 13, 14, 18])
def test_as_many_frames_come_out_as_went_in(pipe: VidRDPipeline, video_nhwc: np.ndarray, frames: int) -> None:
    given = video_nhwc[:frames]
    parts = list(pipe.stream(PROMPT, video=given, strength=0.2, output_type="uint8", **QUICK))
    assert sum(part.shape[1] for part in parts) == frames
    whole = pipe(PROMPT, video=torch.from_numpy(given), strength=0.2, output_type="uint8", **QUICK).frames
    assert np.array_equal(np.concatenate(parts, axis=1), whole)
    longer = pipe(PROMPT, video=video_nhwc, strength=0.2, output_type="uint8", **QUICK).frames
    kept = 8 if frames < 13 else 13  # whole clips: what mirrors the end is in the last one alone
    assert np.abs(whole[:, :kept].astype(int) - longer[:, :kept]).max() <= 1


def test_a_long_video_is_never_held_as_floats_in_its_own_size(pipe: VidRDPipeline) -> None:
    video_nhwc = np.zeros((128, 480, 640, 3), np.uint8)  # 118 MB, as floats 472
    asked = QUICK | {"num_inference_steps": 1, "strength": 1.0}
    tracemalloc.start()  # arrays of numpy, which is what frames are read into, are traced
    try:
        first = next(pipe.stream(PROMPT, video=video_nhwc, **asked))
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert first.shape == (1, 8, 16, 16, 3) and peak_bytes < video_nhwc.nbytes


def test_little_strength_keeps_the_video_and_frames_in_their_order(
    pipe: VidRDPipeline, video_nhwc: np.ndarray
) -> None:
    asked = QUICK | {"num_inference_steps": 1000, "output_type": "np"}
    edited = pipe(PROMPT, video=video_nhwc, strength=0.001, **asked).frames[0]
    with torch.no_grad():
        latents = encoded(pipe, torch.from_numpy(video_nhwc[None]).float() / 255)
        seen = torch.cat([pipe.decode_latents(part) for part in latents.split(1, dim=2)], dim=1)[0].numpy()
    far = np.abs(edited[:, None] - seen[None]).mean(axis=(2, 3, 4))
    assert (far.argmin(axis=1) == np.arange(len(seen))).mean() > 0.8, far.argmin(axis=1)


def test_videos_of_several_prompts_are_each_their_own(pipe: VidRDPipeline) -> None:
    videos = scenes_and_clips(5, 2, 11)[1]
    prompts = [PROMPT, {0: PROMPT, 9: "a red circle moving left"}]
    asked = QUICK | {"strength": 0.6, "output_type": "np", "seed": [1, 2]}
    both = pipe(prompts, video=videos, **asked).frames
    alone = pipe(prompts[1], video=videos[1], **asked | {"seed": 2}).frames
    assert both.shape == (2, 11, 16, 16, 3) and np.abs(both[1] - alone[0]).max() < 1e-3
    plain = pipe(PROMPT, video=videos[1], **asked | {"seed": 2}).frames
    assert np.abs(plain - alone).max() > 1e-4
    with pytest.raises(ModelError, match="frames of 2 videos do not fit 3 prompts"):
        pipe([PROMPT] * 3, video=videos, **asked | {"seed": 1})


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"video": None, "strength": 0.5}, "strength is of a video that is edited: give video"),
        ({"strength": 0.0}, "strength must lie above 0 and up to 1, not 0.0"),
        ({"strength": 1.2}, "strength must lie above 0 and up to 1, not 1.2"),
        ({"strength": float("nan")}, "strength must lie above 0 and up to 1, not nan"),
        ({"strength": 0.1}, "strength 0.1 of 5 steps is none; use more steps or strength"),
        ({"num_clips": 2}, "give either video or num_clips, not both"),
        ({"seam": "crossfade"}, "give either video or seam, not both"),
        ({"latents": torch.zeros(1, 4, 8, 8, 8)}, "give either video or latents, not both"),
        ({"loop": True, "num_clips": 1}, "give either video or loop, not both"),
        ({"prompt_frames": 8}, "prompt_frames must lie in 0..7 where a video is edited, not be 8"),
        ({"num_frames": 24}, "video: 18 frames are fewer than the 24 of a clip"),
        ({"video": Image.new("RGB", (64, 64))}, "video: 1 frames are fewer than the 8 of a clip"),
        (
            {"video": [np.zeros((64, 64, 3), np.uint8)] * 12 + [np.zeros((32, 64, 3))]},
            "frames must be of one size",
        ),
        ({"video": np.full((12, 64, 64, 3), 2.0)}, "frames of floats must lie in 0..1"),
        ({"video": "clip.mp4"}, "frames must be an array, a tensor or a list of images, not str"),
    ],
)
def test_what_does_not_go_together_is_refused(
    pipe: VidRDPipeline, video_nhwc: np.ndarray, asked: dict[str, Any], said: str
) -> None:
    with pytest.raises(ModelError, match=said):
        pipe(PROMPT, **QUICK | {"video": video_nhwc} | asked)


@pytest.mark.parametrize("strength", [0.2, 0.4, 0.6, 1.0])
@pytest.mark.parametrize("name", ["DDIMScheduler", "PNDMScheduler", "DPMSolverMultistepScheduler"])
def test_the_truth_leads_back_to_the_clean_clip_from_any_step(name: str, strength: float) -> None:
    more = {"skip_prk_steps": True} if name == "PNDMScheduler" else {}
    scheduler = getattr(diffusers, name)(**more)
    stepper = Stepper(
        scheduler, SamplingOptions(5, prompt_frames=0, strength=strength), 1, torch.device("cpu")
    )
    clean, noise = torch.ones(1, 1, 1, 1, 1), torch.full((1, 1, 1, 1, 1), 0.5)
    x = stepper.begin(noise, clean)
    for timestep in stepper.timesteps:
        kept = scheduler.alphas_cumprod[timestep]
        x = stepper.step((x - kept.sqrt() * clean) / (1 - kept).sqrt(), timestep, x, None)
    assert abs(float(x) - 1) < 0.02


def test_runge_kutta_steps_are_not_begun_in_the_middle(pipe: VidRDPipeline, video_nhwc: np.ndarray) -> None:
    other = VidRDPipeline(**pipe.components)
    other.scheduler = diffusers.PNDMScheduler.from_config(pipe.scheduler.config)
    with pytest.raises(ModelError, match=r"PNDMScheduler cannot begin within .* skip_prk_steps=True"):
        other(PROMPT, video=video_nhwc, strength=0.6, **QUICK)


def test_what_continues_a_video_edits_none(pipe: VidRDPipeline, video_nhwc: np.ndarray) -> None:
    with pytest.raises(ModelError, match=r"a video that is edited is for pipe\(video=...\)"):
        pipe.continue_video(video_nhwc, PROMPT, video=video_nhwc, **QUICK)


@pytest.mark.parametrize(
    ("frames", "n", "m", "clips"), [(8, 8, 3, 1), (9, 8, 3, 2), (13, 8, 3, 2), (14, 8, 3, 3), (16, 8, 0, 2)]
)
def test_clips_cover_the_video(frames: int, n: int, m: int, clips: int) -> None:
    assert clips_over(frames, n, m) == clips
