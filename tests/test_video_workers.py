"""One video over several workers of Ray: the same frames as from one process, and what is said of a lost worker."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import ray

from flows.generate.request import GenerateParams, read_request
from tasks.errors import RequestError
from tasks.generation.asked import AskedVideos, EditedFrames
from tasks.generation.generate import invert_frames, stream_videos
from tasks.generation.settings import SamplingSettings
from tasks.generation.video_on_workers import stream_on_workers
from tests.continued_videos import scenes_and_clips

SAMPLING = SamplingSettings(num_inference_steps=3, beta=0.7, height=32, width=32, prompts_per_batch=2)


def _asked(model: Path, **changes: Any) -> AskedVideos:
    return replace(AskedVideos(model, ["a red circle moving right"], [7], 5, SAMPLING, "cpu"), **changes)


def _videos(stream: Any) -> dict[int, np.ndarray]:
    parts: dict[int, list[np.ndarray]] = {}
    for index, frames_nhwc in stream:
        if frames_nhwc is not None:
            parts.setdefault(index, []).append(frames_nhwc)
    return {index: np.concatenate(frames) for index, frames in parts.items()}


@pytest.mark.slow
def test_the_frames_are_those_of_one_process(ray_session: None, small_model: Path) -> None:
    """Of three workers, two batches of videos and the progress that is told."""
    alone = _asked(small_model)
    asked = replace(alone, prompts=["a", ["b", "c"], "d"], seeds=[1, 2, 3], num_clips=4)
    told: list[tuple[float, int | None]] = []
    shared = _videos(stream_on_workers(asked, 3, lambda done, total, _: told.append((done, total))))
    _assert_same(shared, _videos(stream_videos(asked)))
    assert told[-1] == (asked.total_clips, asked.total_clips) and told == sorted(told)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 3])
def test_videos_of_every_kind_are_shared(ray_session: None, small_model: Path, workers: int) -> None:
    frames_nhwc = scenes_and_clips(3, 1, 18)[1][0]
    alone = _asked(small_model)
    for asked in (
        alone,
        replace(alone, sampling=SAMPLING.model_copy(update={"seam": "crossfade"})),
        replace(alone, loop=True),
        replace(alone, after=invert_frames(alone, frames_nhwc)),
        replace(alone, edited=EditedFrames(frames_nhwc, 0.6), num_clips=4),
    ):
        _assert_same(_videos(stream_on_workers(asked, workers)), _videos(stream_videos(asked)))


def _assert_same(videos: dict[int, np.ndarray], wanted: dict[int, np.ndarray]) -> None:
    assert videos.keys() == wanted.keys()
    assert all(np.array_equal(videos[index], wanted[index]) for index in wanted)


@pytest.mark.slow
@pytest.mark.gate
def test_a_lost_worker_is_one_line_and_whole_clips_are_kept(ray_session: None, small_model: Path) -> None:
    asked = _asked(small_model, num_clips=40)
    before = _clip_workers()
    stream = stream_on_workers(asked, 2)
    kept = [next(stream)]
    victim = sorted(_clip_workers() - before)[0]
    os.kill(victim, signal.SIGKILL)
    with pytest.raises(
        RequestError, match=r"^workers: worker \d of 2, which had clip \d+, is gone: .*"
    ) as caught:
        kept.extend(stream)
    assert "\n" not in str(caught.value)
    frames_nhwc = np.concatenate([clip for _, clip in kept if clip is not None])
    whole = _videos(stream_videos(replace(asked, num_clips=len(kept))))[0]
    assert np.array_equal(frames_nhwc, whole)
    gone_by_s = time.monotonic() + 60
    while _clip_workers() - before and time.monotonic() < gone_by_s:
        time.sleep(0.1)
    assert not _clip_workers() - before  # the other one is let go
    assert len(_videos(stream_on_workers(_asked(small_model), 2))) == 1


def _clip_workers() -> set[int]:
    """The processes of this machine that sample a share of a video."""
    return {
        one.pid
        for one in psutil.process_iter(["cmdline"])
        if "_ClipWorker" in " ".join(one.info["cmdline"] or ())
    }


@pytest.mark.slow
def test_there_must_be_room_for_all_of_them(ray_session: None, small_model: Path) -> None:
    cpus = int(ray.cluster_resources()["CPU"])
    with pytest.raises(
        RequestError, match=f"workers: {cpus + 1} workers need 1 CPU each, Ray has room for {cpus}"
    ):
        next(stream_on_workers(_asked(small_model, num_clips=99), cpus + 1))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"workers": 4}, "workers: a video of 3 clips has no work for 4; use 3 or less"),
        (
            {"workers": 2, "sampling": {"method": "overlap"}},
            "workers: overlap makes one clip after another; use method vidrd or 1",
        ),
    ],
)
def test_what_cannot_be_shared_is_refused(
    small_model: Path, tmp_path: Path, asked: dict[str, Any], said: str
) -> None:
    params = GenerateParams(prompt="a", model=str(small_model), out=tmp_path / "a.mp4", **asked)
    with pytest.raises(RequestError, match=said):
        read_request(params)
