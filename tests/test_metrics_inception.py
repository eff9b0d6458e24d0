"""The inception score equals StyleGAN-V's and TGAN2's numbers."""

import numpy as np
import pytest

from tests.i3d_files import GOLDENS, shared
from vidrd_model.metrics import inception_score


@pytest.mark.parametrize(
    ("splits", "shuffle_seed", "mean", "std"),
    [(10, 42, 21.446724, 1.018613), (10, None, 21.596172, 0.651737), (1, 42, 23.443036, 0.0)],
)
def test_goldens(splits: int, shuffle_seed: int | None, mean: float, std: float) -> None:
    probs = np.load(shared(GOLDENS / "inception.npz"))["is_probs"]
    before = probs.copy()
    assert inception_score(probs, splits, shuffle_seed) == pytest.approx((mean, std), abs=1e-5)
    assert np.array_equal(probs, before)  # the shuffle is ours alone


def test_balanced_certain_classes_score_their_number() -> None:
    one_hot = np.eye(101)[np.arange(1010) % 101]
    assert inception_score(one_hot, splits=1)[0] == pytest.approx(101, abs=1e-9)
    assert (
        inception_score(one_hot, splits=10, shuffle_seed=42)[0] < 65
    )  # ten rows per class: the cap of small sets


def test_one_answer_for_everything_scores_one() -> None:
    assert inception_score(np.full((40, 7), 1 / 7), splits=4) == pytest.approx((1.0, 0.0))


@pytest.mark.parametrize("probs", [np.full((5, 2), 0.5), np.full((20, 2), 0.9), np.full((20, 2), np.nan)])
def test_refuses_too_few_rows_and_rows_that_are_no_softmax(probs: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"probabilities|softmax"):
        inception_score(probs)
