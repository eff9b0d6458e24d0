"""The Fréchet distance equals the reference values and has the properties of a distance."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.i3d_files import GOLDENS, shared
from vidrd_model.metrics import frechet_distance

EXPECTED = [
    ("full_n500_d64", 1, 77.558121),
    ("full_n500_d64", 0, 77.414893),
    ("rankdef_n50_d128", 1, 220.260101),
    ("rankdef_n50_d128", 0, 216.008876),
]


@pytest.mark.parametrize(("name", "ddof", "expected"), EXPECTED)
def test_goldens(name: str, ddof: int, expected: float) -> None:
    arrays = np.load(shared(GOLDENS / "frechet.npz"))
    distance = frechet_distance(arrays[f"{name}_x"], arrays[f"{name}_y"], ddof=ddof)
    assert distance == pytest.approx(expected, abs=1e-5)


def test_gaussians_on_a_line_have_a_closed_form() -> None:
    x = np.array([[0.0], [2.0]])  # mean 1, variance 2
    y = np.array([[10.0], [14.0]])  # mean 12, variance 8
    assert frechet_distance(x, y) == pytest.approx(121 + (np.sqrt(8) - np.sqrt(2)) ** 2)


@settings(max_examples=30, deadline=None)
@given(n=st.integers(2, 40), m=st.integers(2, 40), d=st.integers(1, 24), seed=st.integers(0, 99))
def test_symmetric_zero_on_itself_and_blind_to_order(n: int, m: int, d: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, d)), rng.normal(1, 3, size=(m, d))
    assert frechet_distance(x, x) < 1e-6
    assert frechet_distance(x, y) == pytest.approx(frechet_distance(y, x), rel=1e-9, abs=1e-9)
    assert frechet_distance(x, y) == pytest.approx(frechet_distance(rng.permutation(x), y), rel=1e-9)
    # A shift of one set adds its squared length and leaves the covariances alone.
    assert frechet_distance(x, x + 2.0) == pytest.approx(4.0 * d)


@settings(max_examples=40, deadline=None)
@given(
    d=st.integers(1, 24),
    extra=st.integers(1, 60),
    decay=st.floats(-9, 0),
    lost=st.integers(0, 3),
    seed=st.integers(0, 99),
)
def test_any_spectrum_has_the_singular_values_form(
    d: int, extra: int, decay: float, lost: int, seed: int
) -> None:
    """The faster form and the exact one agree, and neither lets a set be far from itself."""
    rng = np.random.default_rng(seed)
    n, m = d + extra, d + 2 * extra
    rotation = np.linalg.qr(rng.normal(size=(d, d)))[0]
    spread = 10 * np.logspace(0, decay, d)
    spread[: min(lost, d - 1)] = 0  # features of less than full rank
    x, y = ((rng.normal(size=(rows, d)) * spread) @ rotation for rows in (n, m))
    centred = [(rows - rows.mean(axis=0)) / np.sqrt(len(rows) - 1) for rows in (x, y)]
    cross = np.linalg.svd(centred[0] @ centred[1].T, compute_uv=False).sum()
    traces = sum(np.square(rows).sum() for rows in centred)
    exact = np.square(x.mean(axis=0) - y.mean(axis=0)).sum() + traces - 2 * cross
    assert frechet_distance(x, y) == pytest.approx(exact, abs=max(1e-9 * traces, 1e-9))
    assert frechet_distance(x, x) < 1e-6


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (np.zeros((1, 4)), np.zeros((5, 4))),
        (np.zeros((5, 4)), np.zeros((5, 3))),
        (np.full((5, 4), np.nan), np.zeros((5, 4))),
        (np.zeros(4), np.zeros(4)),
    ],
)
def test_refuses_what_has_no_covariance(x: np.ndarray, y: np.ndarray) -> None:
    with pytest.raises(ValueError, match="features"):
        frechet_distance(x, y)
