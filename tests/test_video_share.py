"""A video whose clips several workers sample is the video of one: threads here, workers of Ray where it is slow."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import RequestError
from tasks.generation.mailbox import Mailbox
from tests.continued_videos import scenes_and_clips
from tests.quiet_pipeline import quiet_pipeline
from vidrd_model import VidRDPipeline
from vidrd_model.call_arguments import CallArguments
from vidrd_model.sampled_clips import SampledClips
from vidrd_model.video_share import VideoShare, owners, runs_of
from vidrd_model.windows import window_sizes, windows_of

PROMPT = "a red circle moving right"
STORY = [[PROMPT, "a blue square moving up"], "a green triangle moving left"]
STEPS: dict[str, Any] = {"num_inference_steps": 4, "guidance_scale": 2.0, "beta": 0.7, "alpha": 1.0}


@pytest.fixture(scope="module")
def pipe(small_model: Path) -> VidRDPipeline:
    return quiet_pipeline(small_model)


def of_workers(pipe: VidRDPipeline, workers: int, **asked: Any) -> torch.Tensor:
    """The latents b c n h w of a video whose clips so many threads have sampled, each its share."""
    mailbox = Mailbox(time_limit_s=60)

    def share(worker: int) -> SampledClips:
        call = CallArguments(**STEPS | asked)
        how = call.settings(pipe.config.sampling)
        return SampledClips(pipe, call, how, VideoShare(worker, workers, mailbox))

    shares = [share(worker) for worker in range(workers)]  # not in threads: they have one tokenizer
    with ThreadPoolExecutor(workers) as threads:
        windows = zip(*threads.map(lambda clips: list(clips.windows()), shares), strict=True)
        clips = [clip_bcnhw for window in windows for run in window for clip_bcnhw in run]
    assert not mailbox._frames  # nothing was sent that nobody asked for
    return torch.cat(clips, dim=2)


def of_one(pipe: VidRDPipeline, **asked: Any) -> torch.Tensor:
    video: torch.Tensor = pipe(output_type="latent", **STEPS | asked).frames
    return video


@pytest.mark.parametrize(
    "asked",
    [
        {"prompt": STORY, "num_clips": 5, "seed": [3, 4]},
        {"prompt": PROMPT, "num_clips": 2},
        {
            "prompt": PROMPT,
            "num_clips": 5,
            "prompt_frames": 8,
            "beta": 1.0,
        },  # each clip is a copy of all before
        {"prompt": PROMPT, "num_clips": 4, "prompt_frames": 0},
        {"prompt": PROMPT, "num_clips": 5, "loop": True},
        {"prompt": PROMPT, "num_clips": 4, "alpha": float("inf"), "noise_alpha": 1.0},
    ],
    ids=["two stories", "few clips", "M = N", "M = 0", "loop", "one noise"],
)
def test_a_video_of_several_workers_is_that_of_one(pipe: VidRDPipeline, asked: dict[str, Any]) -> None:
    wanted = of_one(pipe, **asked)
    for workers in (2, 3):
        assert torch.equal(of_workers(pipe, workers, **asked), wanted), workers


@pytest.mark.parametrize(
    "name", ["EulerAncestralDiscreteScheduler", "UniPCMultistepScheduler", "HeunDiscreteScheduler"]
)
def test_schedulers_with_a_memory_and_noise_of_their_own(pipe: VidRDPipeline, name: str) -> None:
    other = VidRDPipeline(**pipe.components)
    other.set_progress_bar_config(disable=True)
    other.scheduler = getattr(diffusers, name).from_config(pipe.scheduler.config)
    asked = {"prompt": PROMPT, "num_clips": 4}
    assert torch.equal(of_workers(other, 2, **asked), of_one(other, **asked))


def test_clips_at_once_are_those_of_each_worker(pipe: VidRDPipeline) -> None:
    asked = {"prompt": PROMPT, "num_clips": 7}
    shared, wanted = of_workers(pipe, 2, clips_at_once=2, **asked), of_one(pipe, **asked)
    torch.testing.assert_close(shared, wanted, rtol=0, atol=1e-3 * float(wanted.std()))


def test_a_video_that_goes_on_or_is_edited(pipe: VidRDPipeline) -> None:
    frames_nhwc = scenes_and_clips(3, 1, 18)[1][0]
    after = pipe.invert(frames_nhwc, PROMPT, num_inference_steps=4)
    for asked in ({"num_clips": 4, "after": after}, {"video": frames_nhwc, "strength": 0.6}):
        asked["prompt"] = PROMPT
        assert torch.equal(of_workers(pipe, 2, **asked), of_one(pipe, **asked))


@given(clips=st.integers(1, 40), at_once=st.integers(1, 5), workers=st.integers(1, 6), loop=st.booleans())
def test_every_clip_has_one_owner_and_a_neighbour_that_it_hears_of(
    clips: int, at_once: int, workers: int, loop: bool
) -> None:
    windows = list(windows_of(clips, window_sizes(at_once * workers), loop))
    assert [clip for window in windows for run in runs_of(window, workers) for clip in run] == list(
        range(clips)
    )
    assert all(len(run) <= at_once for window in windows for run in runs_of(window, workers))
    owner_of = owners(windows, workers)
    assert len(owner_of) == clips and all(owner_of[window[0]] == 0 for window in windows if window)


def test_whoever_hears_nothing_says_of_which_clip() -> None:
    with pytest.raises(
        RequestError, match=r"workers: clip 5 heard nothing of the clip before it for 0\.01 s"
    ):
        Mailbox(time_limit_s=0.01).receive(4, 1)
