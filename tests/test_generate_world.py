"""What the embedded model shows, read from its frames by a reader that knows nothing of it.

The scenes are drawn from seeds that no choice of the recipe or of the sampling settings was made on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.generation.asked import AskedVideos
from tasks.generation.on_ray import stream_videos_on_ray
from tasks.tiny.world.drawing import Scene, random_scene
from tests.frame_reading import read_clip
from tests.whole_videos import whole_videos
from vidrd_model.metrics.seams import seam_ratios

NUM_VIDEOS, NUM_LONG, NUM_CLIPS = 128, 16, 3


def _scenes(seed: int, count: int) -> list[Scene]:
    rng = np.random.default_rng(seed)
    return [random_scene(rng) for _ in range(count)]


def _videos(profile: Any, scenes: list[Scene], clips: int) -> list[np.ndarray]:
    prompts, seeds = [scene.caption for scene in scenes], list(range(len(scenes)))
    every_frame = profile.sampling.model_copy(update={"seam": "keep"})
    stream = stream_videos_on_ray(AskedVideos(Path(profile.model), prompts, seeds, clips, every_frame))
    videos = dict(whole_videos(stream))
    return [videos[index] for index in range(len(scenes))]


@pytest.mark.slow
def test_clips_show_what_the_prompt_says(ray_session: None, tiny_profile: Any) -> None:
    scenes = _scenes(128, NUM_VIDEOS)
    readings = [read_clip(frames) for frames in _videos(tiny_profile, scenes, 1)]
    right = {
        what: sum(
            getattr(read, what) == getattr(scene, what) for read, scene in zip(readings, scenes, strict=True)
        )
        for what in ("colour", "shape", "direction")
    }
    print(f"right of {NUM_VIDEOS} clips: {right}")
    assert right["colour"] >= 0.90 * NUM_VIDEOS, right
    assert right["direction"] >= 0.75 * NUM_VIDEOS, right


@pytest.mark.slow
def test_long_videos_keep_their_object_move_on_and_do_not_jump(ray_session: None, tiny_profile: Any) -> None:
    n, m = tiny_profile.sampling.num_frames, tiny_profile.sampling.prompt_frames
    scenes, ratios = _scenes(3, NUM_LONG), []
    for scene, frames in zip(scenes, _videos(tiny_profile, scenes, NUM_CLIPS), strict=True):
        clips = [read_clip(frames[start : start + n]) for start in range(0, len(frames), n)]
        assert {(clip.colour, clip.shape) for clip in clips} == {(scene.colour, scene.shape)}, scene.caption
        usual_px = np.nanmedian(clips[0].steps_px)
        assert all(np.nansum(clip.steps_px) > usual_px for clip in clips), (
            f"{scene.caption}: a clip stands still"
        )
        assert all(np.nanmean(clip.steps_px) > 1.0 for clip in clips), f"{scene.caption}: a clip stands still"
        steps_px = read_clip(frames).steps_px
        in_pixels = seam_ratios(frames, n, m)
        assert in_pixels is not None
        for k in range(1, NUM_CLIPS):
            ratios.append(
                {
                    "boundary, grey levels": in_pixels.boundary,
                    "M-1 to M, grey levels": in_pixels.guided_to_free,
                    "boundary, position": steps_px[k * n - 1] / usual_px,
                    "M-1 to M, position": steps_px[k * n + m - 1] / usual_px,
                }
            )
    worst = {kind: round(float(max(ratio[kind] for ratio in ratios)), 2) for kind in ratios[0]}
    print(f"the largest step at a seam over the usual step: {worst}")
    assert all(value <= 2.0 for value in worst.values()), worst
