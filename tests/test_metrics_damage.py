"""What is wrong with clips raises their FVD, more of it further, and each step by more than the intervals allow.

Real clips of the tiny world, 16 frames of 64x64; FVD (ddof 1) from 96 clips to 96 others. At n = 96, far below the 400
features, two sets of real clips are already 60 apart: only differences against the same reference mean anything,
and they are taken clip by clip, a damaged clip beside the clip it was. With 24 clips blur of 2 and 4 px, freezes of a
half and of three quarters, and half or all of the frames out of order could not be told apart.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from tasks.tiny.world.drawing import draw_clip, random_scene
from tests.damages import DAMAGES
from tests.i3d_files import i3d_checkpoint
from vidrd_model.metrics import I3D, Estimate, frechet_distance, jackknife

pytestmark = pytest.mark.slow

CLIPS, FRAMES, BATCH = 96, 16, 4


@pytest.fixture(scope="module")
def i3d() -> I3D:
    return I3D.from_weights(i3d_checkpoint())


@pytest.fixture(scope="module")
def clips() -> np.ndarray:
    """Twice as many as a set has."""
    rng = np.random.default_rng(5)
    return np.stack([draw_clip(random_scene(rng), rng, FRAMES) for _ in range(2 * CLIPS)])


@pytest.fixture(scope="module")
def real(i3d: I3D, clips: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The features of the clips that will be damaged, and of the reference."""
    return features(i3d, clips[:CLIPS]), features(i3d, clips[CLIPS:])


def features(i3d: I3D, clips_nthwc: np.ndarray) -> np.ndarray:
    """(n, 400) of clips, a few at a time."""
    parts = np.split(clips_nthwc, range(BATCH, len(clips_nthwc), BATCH))
    return np.concatenate([i3d(part).numpy() for part in parts])


def further(nearer_nd: np.ndarray, further_nd: np.ndarray, reference_nd: np.ndarray) -> Estimate:
    """By how much the second set is further from the reference than the first, whose clips are the same."""
    return jackknife(_further, nearer_nd, further_nd, reference_nd)


def _further(a_nd: np.ndarray, b_nd: np.ndarray, reference_nd: np.ndarray) -> float:
    return frechet_distance(b_nd, reference_nd) - frechet_distance(a_nd, reference_nd)


def test_a_set_is_at_itself(real: tuple[np.ndarray, np.ndarray]) -> None:
    assert all(frechet_distance(features, features) < 1e-6 for features in real)


@pytest.mark.parametrize("name", DAMAGES)
def test_more_damage_is_further_away_beyond_the_intervals(
    name: str, i3d: I3D, clips: np.ndarray, real: tuple[np.ndarray, np.ndarray]
) -> None:
    damage: Callable[[np.ndarray, float], np.ndarray]
    damage, strengths = DAMAGES[name]
    whole, reference = real
    sets = [whole, *(features(i3d, damage(clips[:CLIPS], strength)) for strength in strengths)]
    distances = [frechet_distance(features_nd, reference) for features_nd in sets]
    assert distances == sorted(distances)
    for (nearer, further_nd), strength in zip(pairwise(sets), strengths, strict=True):
        apart = further(nearer, further_nd, reference)
        assert apart.low > 0, f"{name} up to {strength}: {apart}"
