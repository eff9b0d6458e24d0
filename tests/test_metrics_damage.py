"""What is wrong with clips raises their FVD, more of it further, and the intervals say which of it 24 clips can show.

Real clips of the tiny world, 16 frames of 64x64; FVD (ddof 1) from 24 clips to 24 others. At n = 24, far below the 400
features, two sets of real clips are already 200 apart: only differences against the same reference mean anything,
and they are taken clip by clip, a damaged clip beside the clip it was.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from tasks.tiny_world.drawing import draw_clip, random_scene
from tests.damages import DAMAGES
from tests.i3d_files import i3d_checkpoint
from vidrd_model.metrics import I3D, Estimate, frechet_distance, jackknife

pytestmark = pytest.mark.slow

CLIPS, FRAMES = 24, 16

# Steps up in strength whose paired interval at n = 24 reaches below 0, with the difference and interval. Their order
# is right all the same. Blur of 4 px leaves of a shape of 20 px what blur of 2 px does; half of the frames out of order
# look to I3D as all of them do, and a clip that stands still for three quarters as one that never moves.
NOT_TOLD_APART = {
    ("blur", 2.0, 4.0),  # 25, -17 to 68
    ("shuffle", 0.5, 1.0),  # 18, -42 to 78
    ("freeze", 0.5, 0.75),  # 47, -1 to 96
    ("freeze", 0.75, 1.0),  # 1, -55 to 57
}


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
    return i3d(clips[:CLIPS]).numpy(), i3d(clips[CLIPS:]).numpy()


def further(nearer_nd: np.ndarray, further_nd: np.ndarray, reference_nd: np.ndarray) -> Estimate:
    """By how much the second set is further from the reference than the first, whose clips are the same."""
    return jackknife(_further, nearer_nd, further_nd, reference_nd)


def _further(a_nd: np.ndarray, b_nd: np.ndarray, reference_nd: np.ndarray) -> float:
    return frechet_distance(b_nd, reference_nd) - frechet_distance(a_nd, reference_nd)


def test_a_set_is_at_itself(real: tuple[np.ndarray, np.ndarray]) -> None:
    assert all(frechet_distance(features, features) < 1e-6 for features in real)


@pytest.mark.parametrize("name", DAMAGES)
def test_more_damage_is_further_away(
    name: str, i3d: I3D, clips: np.ndarray, real: tuple[np.ndarray, np.ndarray]
) -> None:
    damage: Callable[[np.ndarray, float], np.ndarray]
    damage, strengths = DAMAGES[name]
    whole, reference = real
    damaged = {strength: i3d(damage(clips[:CLIPS], strength)).numpy() for strength in strengths}
    distances = [frechet_distance(features, reference) for features in (whole, *damaged.values())]
    assert distances == sorted(distances)
    # Not always the strongest: wholly frozen clips differ more from one another (116, interval -21 to 253).
    assert any(further(whole, features, reference).low > 0 for features in damaged.values())
    for weaker, stronger in pairwise(strengths):
        apart = further(damaged[weaker], damaged[stronger], reference)
        told_apart = apart.low > 0
        assert told_apart == ((name, weaker, stronger) not in NOT_TOLD_APART), (
            f"{weaker} to {stronger}: {apart}"
        )
