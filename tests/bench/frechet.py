"""The Fréchet distance of 2,048 clips, and its interval, beside the usual form with a matrix square root."""

from __future__ import annotations

import numpy as np
import scipy.linalg
from threadpoolctl import threadpool_limits

from tests.bench.tables import print_head, print_row
from tests.bench.timing import medians_in_turn_s
from vidrd_model.metrics import frechet_distance, jackknife, kernel_distance

CLIPS, WIDTH = 2048, 400  # fvd2048_16f
ROUNDS = 9


def main() -> None:
    """Prints a row per form with its time over that of the usual one, and the values; one thread."""
    with threadpool_limits(1):
        _compare()


def _compare() -> None:
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(WIDTH, WIDTH)) * np.logspace(0, -1.5, WIDTH)
    x_nd, y_nd = rng.normal(size=(CLIPS, WIDTH)) @ mix, 0.1 + 1.1 * rng.normal(size=(CLIPS, WIDTH)) @ mix
    few = slice(WIDTH // 2)
    seconds = medians_in_turn_s(
        {
            "np.cov and scipy's sqrtm": lambda: matrix_root_distance(x_nd, y_nd),
            "frechet_distance": lambda: frechet_distance(x_nd, y_nd),
            "the same, 200 clips": lambda: frechet_distance(x_nd[few], y_nd[few]),
            "kernel_distance": lambda: kernel_distance(x_nd, y_nd),
        },
        ROUNDS,
    )
    interval = medians_in_turn_s({"": lambda: jackknife(frechet_distance, x_nd, y_nd)}, 1)
    usual = seconds["np.cov and scipy's sqrtm"]
    print(f"One thread, {CLIPS} clips on either side, {WIDTH} features.\n")
    print_head("form", "median", "over the usual one")
    for name, value in (seconds | {"jackknife of frechet_distance": interval[""]}).items():
        print_row(name, f"{1000 * value:.0f} ms", f"{value / usual:.2f}")
    values = matrix_root_distance(x_nd, y_nd), frechet_distance(x_nd, y_nd)
    print(f"\nThe usual form gives {values[0]:.6f}, ours {values[1]:.6f}.")


def matrix_root_distance(x_nd: np.ndarray, y_nd: np.ndarray) -> float:
    """The distance as common implementations compute it."""
    cov_x, cov_y = np.cov(x_nd, rowvar=False), np.cov(y_nd, rowvar=False)
    root = scipy.linalg.sqrtm(cov_x @ cov_y)  # no `disp`: scipy 1.18 has none
    apart = np.square(x_nd.mean(axis=0) - y_nd.mean(axis=0)).sum()
    return float(apart + np.trace(cov_x) + np.trace(cov_y) - 2 * np.trace(root).real)
