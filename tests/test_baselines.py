"""The baselines: what they hold, repeat and fuse, and that they are VidRD's pipeline where they must be."""

from __future__ import annotations

import gc
import itertools
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tasks.generation.asked import AskedVideos
from tasks.generation.generate import stream_batch
from tasks.generation.settings import SamplingSettings
from tests.quiet_pipeline import quiet_pipeline
from vidrd_model import ModelError, VidRDPipeline
from vidrd_model.baselines import stream_freenoise, stream_overlap
from vidrd_model.baselines.freenoise import fuse, fusion_weights, reschedule_noise, window_starts
from vidrd_model.baselines.overlap import overlapping_clips
from vidrd_model.baselines.request import VideoRequest

PROMPTS = ["a red circle moving right", "a blue square moving up"]
QUICK: dict[str, Any] = {"num_inference_steps": 3, "guidance_scale": 4.0, "output_type": "uint8"}
STREAMS = {"overlap": stream_overlap, "freenoise": stream_freenoise}


@pytest.fixture(scope="module")
def pipe(small_model: Path) -> VidRDPipeline:
    return quiet_pipeline(small_model)


@pytest.mark.parametrize("name", STREAMS)
def test_one_clip_is_the_plain_pipeline(pipe: VidRDPipeline, name: str) -> None:
    plain = pipe(PROMPTS, 1, seed=7, **QUICK).frames
    (clip,) = STREAMS[name](pipe, PROMPTS, 1, seed=7, **QUICK)
    assert np.array_equal(clip, plain)
    for changed in ({"eta": 1.0}, {"noise_alpha": 2.0}, {"negative_prompt": "blur"}):
        (clip,) = STREAMS[name](pipe, PROMPTS, 1, seed=7, **QUICK, **changed)
        assert np.array_equal(clip, pipe(PROMPTS, 1, seed=7, **QUICK, **changed).frames)
        assert not np.array_equal(clip, plain)


@pytest.mark.parametrize("name", STREAMS)
def test_a_video_has_its_length_and_is_the_same_in_any_batch(pipe: VidRDPipeline, name: str) -> None:
    together = list(STREAMS[name](pipe, PROMPTS, 2, seed=[7, 8], prompt_frames=3, **QUICK))
    assert [clip.shape for clip in together] == [(2, 8, 16, 16, 3)] * 2
    alone = list(STREAMS[name](pipe, PROMPTS[1], 2, seed=8, prompt_frames=3, **QUICK))
    apart = np.abs(np.concatenate(together, axis=1)[1:] - np.concatenate(alone, axis=1).astype(int))
    assert apart.max() <= 1
    other = next(STREAMS[name](pipe, PROMPTS[1], 2, seed=9, prompt_frames=3, **QUICK))
    assert not np.array_equal(other, alone[0])


@pytest.mark.parametrize(
    "scheduler", ["DDIMScheduler", "EulerDiscreteScheduler", "DPMSolverMultistepScheduler"]
)
def test_a_later_clip_starts_with_the_end_of_the_one_before(pipe: VidRDPipeline, scheduler: str) -> None:
    other = VidRDPipeline(**pipe.components)
    other.scheduler = getattr(diffusers, scheduler).from_config(pipe.scheduler.config)
    request = VideoRequest(
        other, PROMPTS, 2, seed=7, prompt_frames=3, num_inference_steps=8, guidance_scale=4.0
    )
    clips = list(overlapping_clips(request))
    assert len(clips) == 3  # 8 + 5 + 5 frames hold the 16
    for before, after in itertools.pairwise(clips):
        assert torch.equal(after[:, :, :3], before[:, :, 5:])
        assert not torch.allclose(after[:, :, 3:], before[:, :, 3:], atol=0.1)


def test_the_held_frames_are_what_the_model_sees_in_every_step(pipe: VidRDPipeline) -> None:
    """The UNet gets the held frames noised for its step: taking that noise off gives the clip before again."""
    scheduler = pipe.scheduler
    seen: list[tuple[float, torch.Tensor]] = []
    hook = pipe.unet.register_forward_pre_hook(lambda _, args: seen.append((float(args[1]), args[0][-1:])))
    request = VideoRequest(pipe, PROMPTS[0], 2, seed=7, **QUICK)
    clips = list(overlapping_clips(request))
    hook.remove()
    noise = request.noise([PROMPTS[0]], 1)[:, :, :4]
    for timestep, sample in seen[3:6]:
        share = scheduler.alphas_cumprod[int(timestep)]
        clean = (sample[:, :, :4] - (1 - share).sqrt() * noise) / share.sqrt()
        torch.testing.assert_close(clean, clips[0][:, :, 4:], atol=1e-4, rtol=1e-4)


def test_overlapping_frames_are_shown_once(pipe: VidRDPipeline) -> None:
    request = VideoRequest(pipe, PROMPTS[0], 2, seed=7, **QUICK)
    decoded = [pipe.decode_latents(clip).numpy() for clip in overlapping_clips(request)]
    wanted = np.concatenate([decoded[0], *(clip[:, 4:] for clip in decoded[1:])], axis=1)
    asked = QUICK | {"output_type": "np"}
    shown = np.concatenate(list(stream_overlap(pipe, PROMPTS[0], 2, seed=7, **asked)), axis=1)
    assert np.array_equal(shown, wanted[:, :16])


@pytest.mark.parametrize("name", STREAMS)
def test_a_story_changes_its_text(pipe: VidRDPipeline, name: str) -> None:
    def frames(story: list[str]) -> np.ndarray:
        return np.concatenate(list(STREAMS[name](pipe, [story], 2, seed=7, **QUICK)), axis=1)

    alone = frames([PROMPTS[0]])
    assert np.array_equal(alone, frames([PROMPTS[0]] * 2))
    assert not np.array_equal(frames(PROMPTS)[:, 8:], alone[:, 8:])


@given(size=st.integers(1, 12), clips=st.integers(1, 9), data=st.data())
def test_windows_cover_the_video_and_their_weights_sum_to_one(size: int, clips: int, data: Any) -> None:
    stride = data.draw(st.integers(1, size))
    total = size * clips
    starts = window_starts(total, size, stride)
    assert starts[0] == 0 and starts[-1] == total - size and len(set(starts)) == len(starts)
    assert all(0 < later - start <= stride for start, later in itertools.pairwise(starts))
    weights_wl = fusion_weights(starts, size, total)
    torch.testing.assert_close(weights_wl.sum(dim=0), torch.ones(total))
    for start, row in zip(starts, weights_wl, strict=True):
        assert (row[start : start + size] > 0).all() and row.count_nonzero() == size
    # What all windows agree on stays as it is.
    video = torch.randn(2, 3, total, 1, 1)
    windows = torch.cat([video[:, :, start : start + size] for start in starts])
    torch.testing.assert_close(fuse(windows, starts, weights_wl), video)


def test_rescheduled_noise_repeats_the_base_in_shuffled_runs() -> None:
    base = torch.randn(2, 4, 8, 2, 2)
    noise = reschedule_noise(base, 24, 4, [7, 7], PROMPTS)
    assert noise.shape == (2, 4, 24, 2, 2) and torch.equal(noise[:, :, :8], base)

    def order(video: int) -> list[int]:
        return [
            int((base[video] == noise[video, :, i : i + 1]).all(dim=(0, 2, 3)).nonzero()) for i in range(24)
        ]

    for video in (0, 1):
        for start in range(8, 24, 4):
            assert sorted(order(video)[start : start + 4]) == sorted(order(video)[start - 8 : start - 4])
    assert order(0) != order(1)  # each video has its own shuffles
    assert torch.equal(reschedule_noise(base[1:], 24, 4, [7], PROMPTS[1:]), noise[1:])


def test_what_cannot_be_sampled_is_refused(pipe: VidRDPipeline) -> None:
    for stream in STREAMS.values():
        with pytest.raises(ModelError, match=r"prompt_frames must lie in 0\.\.7"):
            next(stream(pipe, PROMPTS, 2, prompt_frames=8, **QUICK))
    unipc = VidRDPipeline(**pipe.components)
    unipc.scheduler = diffusers.UniPCMultistepScheduler.from_config(pipe.scheduler.config)
    with pytest.raises(ModelError, match="UniPCMultistepScheduler corrects"):
        next(stream_overlap(unipc, PROMPTS, 2, **QUICK))
    assert len(list(stream_freenoise(unipc, PROMPTS[0], 2, **QUICK))) == 2
    with pytest.raises(ValidationError, match="leaves overlap no new frames"):
        SamplingSettings(method="overlap", prompt_frames=8)


@pytest.mark.parametrize("method", STREAMS)
def test_the_settings_name_the_method(pipe: VidRDPipeline, small_model: Path, method: str) -> None:
    sampling = SamplingSettings(method=method, num_inference_steps=2, guidance_scale=4.0)
    clips = list(stream_batch(AskedVideos(small_model, PROMPTS, [7, 8], 2, sampling)))
    asked = QUICK | {"num_inference_steps": 2}
    direct = STREAMS[method](pipe, PROMPTS, 2, seed=[7, 8], **asked)
    assert np.array_equal(np.concatenate(clips), np.concatenate(list(direct)))


@pytest.mark.parametrize("stream", [stream_overlap, VidRDPipeline.stream])
def test_what_is_kept_does_not_grow_with_the_length(pipe: VidRDPipeline, stream: Any) -> None:
    """Of tensors, to the byte; what the process has resident also depends on when its allocator gives pages back."""
    quick = QUICK | {"num_inference_steps": 1, "guidance_scale": 1.0}
    gc.freeze()  # what is there already, hundreds of thousands of objects, is not looked through
    try:
        kept_bytes = [_living_bytes() for _ in stream(pipe, PROMPTS[0], 5, **quick)]
    finally:
        gc.unfreeze()
    assert kept_bytes[1] > 0 and len(set(kept_bytes[1:4])) == 1


def _living_bytes() -> int:
    gc.collect()
    storages = [one.untyped_storage() for one in gc.get_objects() if type(one) is torch.Tensor]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())
