"""What the embedded model shows, read from its frames by a reader that knows nothing of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.generation.generate import generate_on_ray
from tasks.tiny_world.drawing import Scene, random_scene
from tests.frame_reading import read_clip
from vidrd_model.metrics.seams import seam_ratios

NUM_VIDEOS, NUM_LONG, NUM_CLIPS = 128, 16, 3


@pytest.fixture
def scenes() -> list[Scene]:
    rng = np.random.default_rng(2023)
    return [random_scene(rng) for _ in range(NUM_VIDEOS)]


def _videos(profile: Any, scenes: list[Scene], clips: int) -> list[np.ndarray]:
    prompts, seeds = [scene.caption for scene in scenes], list(range(len(scenes)))
    videos = dict(generate_on_ray(Path(profile.model), prompts, seeds, clips, profile.sampling))
    return [videos[index] for index in range(len(scenes))]


@pytest.mark.slow
def test_colours_and_directions_are_right(ray_session: None, tiny_profile: Any, scenes: list[Scene]) -> None:
    readings = [read_clip(frames) for frames in _videos(tiny_profile, scenes, 1)]
    colours = np.mean([read.colour == scene.colour for read, scene in zip(readings, scenes, strict=True)])
    ways = np.mean([read.direction == scene.direction for read, scene in zip(readings, scenes, strict=True)])
    assert colours >= 0.90, f"right colours: {colours:.3f} of {NUM_VIDEOS}"
    assert ways >= 0.75, f"right directions: {ways:.3f} of {NUM_VIDEOS}"


@pytest.mark.slow
def test_long_videos_keep_their_object_move_on_and_do_not_jump(
    ray_session: None, tiny_profile: Any, scenes: list[Scene]
) -> None:
    n, m = tiny_profile.sampling.num_frames, tiny_profile.sampling.prompt_frames
    videos = _videos(tiny_profile, scenes[:NUM_LONG], NUM_CLIPS)
    for scene, frames in zip(scenes, videos, strict=False):
        clips = [read_clip(frames[start : start + n]) for start in range(0, len(frames), n)]
        assert len({(clip.colour, clip.shape) for clip in clips}) == 1, scene.caption
        assert all(np.nanmean(clip.steps_px) > 1.0 for clip in clips), f"{scene.caption}: a clip stands still"
    ratios = [seam_ratios(frames, n, m) for frames in videos]
    worst = max(max(ratio.boundary, ratio.guided_to_free) for ratio in ratios if ratio is not None)
    assert worst <= 2.0, f"a step at a seam is {worst:.2f} times the usual one"
