"""The kernel distance of two feature sets: what KID is to FID, on I3D logits beside the Fréchet distance.

Binkowski et al., "Demystifying MMD GANs", arXiv 1801.01401. Unlike the Fréchet distance it is unbiased: its
expected value does not fall with the number of clips, and is 0 for two sets of one distribution.
"""

import numpy as np

from vidrd_model.metrics.frechet import feature_sets

BLOCK_ROWS = 1024


def kernel_distance(x_nd: np.ndarray, y_nd: np.ndarray) -> float:
    """The unbiased squared MMD of two feature sets (n, d) and (m, d) with the kernel (x.y / d + 1)^3.

    It may be a little below 0. All rows are compared with all, in float64 and in blocks of `BLOCK_ROWS`, so the
    memory does not grow with n m; KID's average over random subsets estimates the same number less exactly.
    Raises ValueError on too few rows, unlike widths, or values that are not finite.
    """
    x_nd, y_nd = feature_sets(x_nd, y_nd)
    n, m = len(x_nd), len(y_nd)
    within_x = (_kernel_sum(x_nd, x_nd) - _diagonal_sum(x_nd)) / (n * (n - 1))
    within_y = (_kernel_sum(y_nd, y_nd) - _diagonal_sum(y_nd)) / (m * (m - 1))
    return float(within_x + within_y - 2.0 * _kernel_sum(x_nd, y_nd) / (n * m))


def _kernel_sum(x_nd: np.ndarray, y_nd: np.ndarray) -> float:
    """The kernel summed over all pairs of rows."""
    return sum(
        float(_kernel(x_nd[i : i + BLOCK_ROWS] @ y_nd[j : j + BLOCK_ROWS].T, x_nd.shape[1]).sum())
        for i in range(0, len(x_nd), BLOCK_ROWS)
        for j in range(0, len(y_nd), BLOCK_ROWS)
    )


def _diagonal_sum(x_nd: np.ndarray) -> float:
    return float(_kernel(np.square(x_nd).sum(axis=1), x_nd.shape[1]).sum())


def _kernel(products: np.ndarray, width: int) -> np.ndarray:
    shifted = products / width + 1.0
    return shifted * shifted * shifted  # numpy's power is ten times slower
