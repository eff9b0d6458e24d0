"""The kernel distance equals its definition, is unbiased, and holds no matrix of all pairs."""

import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidrd_model.metrics import kernel_distance


def plain(x_nd: np.ndarray, y_nd: np.ndarray) -> float:
    """The definition, pair by pair."""
    d = x_nd.shape[1]
    k = lambda a, b: (float(a @ b) / d + 1) ** 3  # noqa: E731
    within = [
        np.mean([k(rows[i], rows[j]) for i in range(len(rows)) for j in range(len(rows)) if i != j])
        for rows in (x_nd, y_nd)
    ]
    return float(sum(within) - 2 * np.mean([k(a, b) for a in x_nd for b in y_nd]))


@settings(max_examples=40, deadline=None)
@given(n=st.integers(2, 12), m=st.integers(2, 12), d=st.integers(1, 8), seed=st.integers(0, 99))
def test_equals_the_definition_and_is_symmetric(n: int, m: int, d: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, d)), rng.normal(1, 2, size=(m, d))
    assert kernel_distance(x, y) == pytest.approx(plain(x, y), rel=1e-9, abs=1e-9)
    assert kernel_distance(y, x) == pytest.approx(kernel_distance(x, y), rel=1e-9, abs=1e-9)


def test_one_distribution_has_the_mean_zero_at_any_n() -> None:
    rng = np.random.default_rng(0)
    for n in (10, 40):
        values = [kernel_distance(rng.normal(size=(n, 6)), rng.normal(size=(n, 6))) for _ in range(400)]
        assert abs(np.mean(values)) < 4 * np.std(values) / 20
        assert np.mean(np.array(values) < 0) > 0.3  # unbiased, so no floor at 0


def test_more_shift_is_more_distance() -> None:
    rng = np.random.default_rng(1)
    x, noise = rng.normal(size=(300, 16)), rng.normal(size=(300, 16))
    values = [kernel_distance(x, noise + shift) for shift in (0.0, 0.2, 0.4, 0.8)]
    assert values == sorted(values) and values[1] > 3 * abs(values[0])


def test_many_rows_need_no_matrix_of_all_pairs() -> None:
    x = np.random.default_rng(2).normal(size=(4000, 4))
    tracemalloc.start()
    kernel_distance(x, x + 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6 < 4000 * 4000 * 8


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(50, 4)), rng.normal(1, 1, size=(33, 4))
    whole = kernel_distance(x, y)
    monkeypatch.setattr(sys.modules[kernel_distance.__module__], "BLOCK_ROWS", 7)
    assert kernel_distance(x, y) == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (np.zeros((1, 4)), np.zeros((5, 4))),
        (np.zeros((5, 4)), np.zeros((5, 3))),
        (np.zeros((5, 4)), np.full((5, 4), np.inf)),
        (np.zeros(4), np.zeros((5, 4))),
    ],
)
def test_refuses_what_frechet_refuses(x: np.ndarray, y: np.ndarray) -> None:
    with pytest.raises(ValueError, match="features"):
        kernel_distance(x, y)
