"""Going on from clips of the tiny world that nothing was chosen on; `tests.bench.continuing` says more."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.continued_videos import continue_clips, reconstructed, scenes_and_clips
from tests.quiet_pipeline import quiet_pipeline

VIDEOS = 64


@pytest.mark.slow
def test_drawn_clips_come_back_and_go_on_without_a_jump(tiny_profile: Any) -> None:
    sampling = tiny_profile.sampling
    pipe = quiet_pipeline(tiny_profile.model)
    scenes, clips_bnhwc = scenes_and_clips(41, VIDEOS, sampling.num_frames)
    videos = continue_clips(pipe, scenes, clips_bnhwc, 1, sampling.pipeline_arguments())
    trips = [video.round_trip or 0.0 for video in videos]
    kept = sum(video.kept for video in videos)
    # The step from drawn pixels to the VAE's is its own; what is asked of going on is the step behind it.
    seen_bnhwc = reconstructed(pipe, clips_bnhwc)
    seams = [
        replace(video, frames_nhwc=np.concatenate([seen, video.new_nhwc])).seams(sampling.prompt_frames)
        for video, seen in zip(videos, seen_bnhwc, strict=True)
    ]
    worst = {name: max(of[name] for of in seams) for name in seams[0]}
    print(
        f"round trip {np.mean(trips):.2f}, kept {kept} of {VIDEOS}, largest step over the usual one: {worst}"
    )
    assert np.mean(trips) <= 2.0
    assert kept >= 0.95 * VIDEOS
    assert all(value <= 2.0 for value in worst.values()), worst
