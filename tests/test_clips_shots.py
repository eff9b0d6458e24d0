"""Shots: cuts are found exactly, and no fade and no flash gets into a clip."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tasks.clips.reading import iter_decoded
from tasks.clips.resizing import Resizer
from tasks.clips.settings import ClipSettings
from tasks.clips.shots import Shot, shots_of
from tasks.clips.video_io import encode
from tasks.tiny_world.drawing import Scene, draw_clip, random_scene

SHARED_MEDIA = Path(__file__).parents[1].parent / "shared/media"
FILMS = ClipSettings(shot_threshold=3.0, shot_min_content=15.0)


def _scenes(lengths: list[int], seed: int, speed: float = 1.0) -> list[np.ndarray]:
    """The frames of scenes of these lengths, neighbours unlike each other."""
    rng = np.random.default_rng(seed)
    scenes: list[Scene] = []
    while len(scenes) < len(lengths):
        scene = random_scene(rng)
        if not scenes or (scene.colour != scenes[-1].colour and scene.shape != scenes[-1].shape):
            scenes.append(scene)
    return [draw_clip(scene, rng, length) for scene, length in zip(scenes, lengths, strict=True)]


def _small_frames(path: Path) -> Iterator[tuple[float, np.ndarray]]:
    resizer = Resizer(path.name)
    for decoded in iter_decoded(path):
        yield decoded.time_s, resizer.small(decoded)


def _shots(path: Path, frames_nhwc: np.ndarray, settings: ClipSettings | None = None) -> list[Shot]:
    encode(path, frames_nhwc, 8.0)
    return list(shots_of(_small_frames(path), settings or ClipSettings()))


@pytest.mark.parametrize("seed", range(12))
def test_hard_cuts_are_found_exactly(tmp_path: Path, seed: int) -> None:
    lengths = np.random.default_rng([1, seed]).integers(8, 13, 6).tolist()
    shots = _shots(tmp_path / "film.mp4", np.concatenate(_scenes(lengths, seed)))
    starts = np.cumsum([0, *lengths]).tolist()
    assert [(shot.first, shot.stop) for shot in shots] == list(itertools.pairwise(starts))
    assert [(shot.start_s, shot.end_s) for shot in shots] == [
        (first / 8, stop / 8) for first, stop in itertools.pairwise(starts)
    ]
    assert not any(shot.odd for shot in shots)


def test_a_real_film_with_several_shots() -> None:
    if not SHARED_MEDIA.exists():
        pytest.skip("../shared/media is not here")
    shots = list(shots_of(_small_frames(SHARED_MEDIA / "videos/bikes.mp4"), FILMS))
    assert [round(shot.start_s, 2) for shot in shots] == [0.0, 1.2, 3.04, 5.48, 7.48]


def test_short_shots_are_dropped_and_long_ones_come_in_pieces(tmp_path: Path) -> None:
    shots = _shots(tmp_path / "film.mp4", np.concatenate(_scenes([10, 3, 10], 0)))
    assert [shot.first for shot in shots] == [0, 13]
    still = np.full((64, 64, 3), 30, np.uint8)
    held = shots_of(((i / 8, still) for i in range(100)), ClipSettings(max_shot_s=2.0))
    pieces = [(shot.start_s, shot.end_s) for shot in held]
    assert pieces == [(2.0 * i, 2.0 * i + 2.0) for i in range(6)] + [(12.0, 12.5)]
