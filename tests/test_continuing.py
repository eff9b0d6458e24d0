"""Going on from frames that were given: steps are undone whatever they are, and clips follow as from sampled ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from PIL import Image

from tasks.clips.video_io import encode, iter_frames
from tasks.tiny.world.drawing import draw_image, random_scene
from tests.continued_videos import continue_clips, reconstructed, scenes_and_clips
from tests.quiet_pipeline import quiet_pipeline
from vidrd_model import ModelError, VidRDPipeline
from vidrd_model.given_frames import covering, last_clip, read_frames
from vidrd_model.inversion import invert
from vidrd_model.noise import clip_noise
from vidrd_model.sampling import ClipSampler, ClipToSample
from vidrd_model.sampling_options import SamplingOptions
from vidrd_model.stepper import Stepper

PROMPT = "a red circle moving right"
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pipe(small_model: Path) -> VidRDPipeline:
    return quiet_pipeline(small_model)


@pytest.fixture(scope="module")
def tiny(tiny_profile: Any) -> VidRDPipeline:
    """The embedded model: a random one has no world to go on from, and inverting it enlarges the last bits."""
    return quiet_pipeline(tiny_profile.model)


@pytest.fixture(scope="module")
def clip_nhwc() -> np.ndarray:
    return scenes_and_clips(3, 1, 8)[1][0]


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
def test_a_sampled_clip_s_steps_are_undone_to_its_noise(kind: str, spacing: str) -> None:
    scheduler = DDIMScheduler(
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        prediction_type=kind,
        timestep_spacing=spacing,
    )

    def target(x_bcnhw: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        return 0.2 * torch.sin(x_bcnhw.roll(1, 2)) + 0.1 * x_bcnhw.flip(-1) + float(timestep) / 1e4

    options = SamplingOptions(num_inference_steps=15, guidance_scale=1.0, prompt_frames=0)
    stepper = Stepper(scheduler, options, 4, CPU)
    x_bcnhw = clip_noise([1, 2], ["a", "b"], 0, (4, 4, 6, 6))
    went_in = []
    for timestep in stepper.timesteps:
        went_in.append(x_bcnhw)
        x_bcnhw = stepper.step(target(x_bcnhw, timestep), timestep, x_bcnhw, None)
    found = invert(target, scheduler, options, x_bcnhw)  # type: ignore[arg-type]
    assert len(found) == 15
    for step, (wanted, got) in enumerate(zip(went_in, found, strict=True)):
        assert (wanted - got).abs().mean() < 0.01 * wanted.std(), f"step {step}"


@pytest.mark.parametrize(
    "name",
    ["EulerDiscreteScheduler", "DPMSolverMultistepScheduler", "UniPCMultistepScheduler", "DDPMScheduler"],
)
def test_other_schedulers_are_refused_by_name(pipe: VidRDPipeline, clip_nhwc: np.ndarray, name: str) -> None:
    other = VidRDPipeline(**pipe.components)
    other.scheduler = getattr(diffusers, name).from_config(pipe.scheduler.config)
    with pytest.raises(ModelError, match=f"{name} cannot be inverted.*DDIMScheduler"):
        other.continue_video(clip_nhwc, PROMPT)
    other.scheduler = DDIMScheduler.from_config(pipe.scheduler.config, clip_sample=True)
    with pytest.raises(ModelError, match="clip_sample"):
        other.continue_video(clip_nhwc, PROMPT)
    other.scheduler = DDIMScheduler.from_config(pipe.scheduler.config, prediction_type="sample")
    with pytest.raises(ModelError, match="clean latents"):
        other.continue_video(clip_nhwc, PROMPT)


@pytest.mark.parametrize(("m", "alpha", "beta"), [(3, 4.0, 0.7), (8, float("inf"), 1.0), (0, 0.0, 0.4)])
def test_a_clip_follows_a_given_one_as_it_follows_a_sampled_one(
    pipe: VidRDPipeline, m: int, alpha: float, beta: float
) -> None:
    options = SamplingOptions(3, guidance_scale=1.0, prompt_frames=m, alpha=alpha, beta=beta)
    text_btd = pipe.encode_prompt([PROMPT])
    first, fresh = (clip_noise([5], [PROMPT], clip, (4, 8, 8, 8)) for clip in (0, 1))
    sampled, given = (ClipSampler(pipe.unet, pipe.scheduler, options) for _ in range(2))
    went_in: list[torch.Tensor] = []
    sampled.next_clip(ClipToSample(first, text_btd, on_step_start=lambda _, latents: went_in.append(latents)))
    given.follow(went_in)
    wanted, got = (sampler.next_clip(ClipToSample(fresh, text_btd)) for sampler in (sampled, given))
    assert torch.equal(wanted, got)


@pytest.mark.slow
def test_a_drawn_clip_comes_back_and_goes_on(tiny: VidRDPipeline, tiny_profile: Any) -> None:
    scenes, clips_bnhwc = scenes_and_clips(40, 1, 8)
    seen_bnhwc = reconstructed(tiny, clips_bnhwc)
    videos = continue_clips(tiny, scenes, clips_bnhwc, 1, tiny_profile.sampling.pipeline_arguments())
    for video, seen in zip(videos, seen_bnhwc, strict=True):
        assert video.round_trip is not None and video.round_trip < 2.0
        assert abs(video.noise_mean or 0) < 0.2 and 0.8 < (video.noise_deviation or 0) < 1.2
        assert video.kept, video.scene
        # Guided to the last step, the new clip begins where the given one ends.
        before, after = seen[7].astype(float), video.new_nhwc[0].astype(float)
        assert np.abs(after - before).mean() < np.abs(seen[0] - before).mean() / 3


def test_a_video_is_the_same_in_a_batch_and_alone(tiny: VidRDPipeline) -> None:
    scenes, clips_bnhwc = scenes_and_clips(8, 2, 8)
    prompts = [scene.caption for scene in scenes]
    asked = {"num_inference_steps": 1, "guidance_scale": 1.0, "num_clips": 1}
    both = tiny.continue_video(clips_bnhwc, prompts, seed=[1, 2], **asked)
    alone = tiny.continue_video(clips_bnhwc[1], prompts[1], seed=2, **asked)
    assert np.abs(both.frames[1] - alone.frames[0]).max() < 0.01
    assert both.inversion.round_trips[1] == pytest.approx(alone.inversion.round_trips[0], abs=0.05)


def test_a_generator_is_drawn_from_once_for_each_video(pipe: VidRDPipeline, clip_nhwc: np.ndarray) -> None:
    asked: dict[str, Any] = {"num_inference_steps": 1, "guidance_scale": 1.0, "output_type": "uint8"}
    one, another = (torch.Generator().manual_seed(3) for _ in range(2))
    continued = pipe.continue_video(clip_nhwc, PROMPT, generator=one, **asked)
    plain = pipe(PROMPT, after=continued.inversion, generator=another, **asked)
    assert np.array_equal(continued.frames, plain.frames)
    assert torch.equal(one.get_state(), another.get_state())
    pipe.continue_video(clip_nhwc, [PROMPT] * 2, generator=[one, another], **asked)
    assert torch.equal(one.get_state(), another.get_state())


@pytest.mark.parametrize("seam", ["keep", "drop-duplicate", "drop-prompt-frames", "crossfade"])
def test_the_first_new_clip_is_joined_to_the_given_frames(
    pipe: VidRDPipeline, clip_nhwc: np.ndarray, seam: str
) -> None:
    asked = {"num_inference_steps": 1, "guidance_scale": 1.0, "prompt_frames": 3, "seam": seam}
    new = pipe.continue_video(clip_nhwc, PROMPT, 2, output_type="uint8", **asked).frames[0]
    assert len(new) == {"keep": 16, "drop-duplicate": 14, "drop-prompt-frames": 10, "crossfade": 13}[seam]
    if seam == "crossfade":  # the given clip's last three frames, blended, come first
        kept = pipe.continue_video(clip_nhwc, PROMPT, 2, output_type="uint8", **asked | {"seam": "keep"})
        given_nhwc = covering(read_frames(clip_nhwc[5:6]), 16, 16).numpy() * 255  # in the size of the model
        wanted = given_nhwc * 0.75 + kept.frames[0][:1] * 0.25
        assert np.abs(new[:1] - wanted).max() <= 1


def test_a_picture_moves_as_its_seed_says(pipe: VidRDPipeline) -> None:
    rng = np.random.default_rng(2)
    picture = draw_image(random_scene(rng, moving=False), rng, 96)
    asked = {"num_inference_steps": 1}
    one, other = (pipe.invert(picture, PROMPT, seed=seed, **asked).frames_bnhwc[0] for seed in (1, 2))
    again = pipe.invert(Image.fromarray(picture), [PROMPT] * 2, seed=[2, 1], **asked).frames_bnhwc
    assert one.shape == (8, 16, 16, 3) and not torch.equal(one, other)
    assert torch.equal(again[1], one) and torch.equal(again[0], other)
    assert all((one[k] - one[k + 1]).abs().max() > 0.02 for k in range(7))


def test_frames_of_every_kind_are_the_same_frames(clip_nhwc: np.ndarray) -> None:
    wanted = torch.from_numpy(clip_nhwc.astype(np.float32) / 255)
    pictures = [Image.fromarray(frame) for frame in clip_nhwc]
    as_floats = clip_nhwc / 255  # float64
    for frames in (
        clip_nhwc,
        as_floats,
        torch.from_numpy(clip_nhwc),
        list(clip_nhwc),
        pictures,
        list(wanted),
    ):
        assert torch.allclose(read_frames(frames), wanted, atol=1e-6)
    assert torch.allclose(read_frames(wanted.half()), wanted, atol=1e-3)
    assert torch.equal(last_clip(read_frames(clip_nhwc), 3, 64, 64, 0), wanted[-3:])


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        (np.zeros((8, 64, 64, 3)) + 255.0, r"0\.\.1, not in 255\.\.255; or give uint8"),
        (np.full((8, 64, 64, 3), np.nan), "nan"),
        (np.zeros((8, 64, 64, 3), int), "not int64"),
        (np.zeros((8, 3, 64, 64), np.uint8), r"\(n, h, w, 3\), not \(8, 3, 64, 64\)"),
        (np.zeros((0, 64, 64, 3), np.uint8), "not"),
        ([], "not"),
        ([np.zeros((4, 4, 3), np.uint8), np.zeros((5, 4, 3), np.uint8)], "of one size"),
        (np.zeros((5, 64, 64, 3), np.uint8), "5 are fewer than the 8 of a clip"),
        (np.zeros((3, 8, 64, 64, 3), np.uint8), "3 videos do not fit 1 prompts"),
        ("clip.mp4", "not str"),
        (None, "not NoneType"),
    ],
)
def test_frames_that_do_not_fit_are_refused(pipe: VidRDPipeline, frames: Any, said: str) -> None:
    with pytest.raises(ModelError, match=f"^frames.*{said}") as caught:
        pipe.continue_video(frames, PROMPT)
    assert "\n" not in str(caught.value)


def test_what_does_not_go_together_is_refused(pipe: VidRDPipeline, clip_nhwc: np.ndarray) -> None:
    with pytest.raises(ModelError, match=r"continue_video\(\) has no argument 'beat'; did you mean beta"):
        pipe.continue_video(clip_nhwc, PROMPT, beat=1)
    after = pipe.invert(clip_nhwc, PROMPT, num_inference_steps=1)
    for settings, said in (
        ({"num_inference_steps": 2}, "in 1 steps; this call has .* in 2"),
        ({"num_inference_steps": 1, "num_frames": 6}, "after: inverted as latents"),
        ({"num_inference_steps": 1, "num_videos_per_prompt": 2}, "after: inverted as latents"),
        ({"num_inference_steps": 1, "latents": torch.zeros(1, 4, 8, 8, 8)}, "either latents or after"),
    ):
        with pytest.raises(ModelError, match=said):
            pipe(PROMPT, after=after, **settings)


@pytest.mark.parametrize("size", [(90, 160), (160, 90), (64, 65), (131, 77), (48, 40)])
def test_frames_are_scaled_and_cropped_as_those_of_a_dataset(size: tuple[int, int], tmp_path: Path) -> None:
    y, x = np.mgrid[: size[0], : size[1]]
    colours = [np.sin(x / 6 + phase) + np.cos(y / 9 - phase) for phase in (0, 1, 2)]
    frame_hwc = np.uint8(np.clip(127 + 60 * np.stack(colours, axis=2), 0, 255))
    encode(tmp_path / "a.mkv", [frame_hwc] * 3, 8.0, "ffv1", "bgr0", "matroska")
    ((_, wanted), *_) = iter_frames(tmp_path / "a.mkv", 64, 48)
    (got,) = covering(read_frames(frame_hwc), 48, 64)
    assert np.abs(255 * got.numpy() - wanted).mean() < 1.0 and np.abs(255 * got.numpy() - wanted).max() < 8
