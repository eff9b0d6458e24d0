"""The Fréchet distance of two Gaussians fitted to features, exactly and without a matrix square root.

Dowson and Landau (1982); Unterthiner et al., "FVD", arXiv 1812.01717. The trace of (S_x S_y)^(1/2) is the sum
of the singular values of Xc Yc^T, Xc and Yc being the centred features over sqrt(n - ddof): it holds for n < d
as well. They are those of Rx Ry^T with S_x = Rx^T Rx: d x d, however many rows there are.
"""

import numpy as np
from scipy.linalg import lapack

MAX_CONDITION = 1e10
"""Of a covariance: up to here its Cholesky factor, four times as fast as a QR of the rows, is as good as that."""


def frechet_distance(x_nd: np.ndarray, y_nd: np.ndarray, ddof: int = 1) -> float:
    """|mu_x - mu_y|^2 + tr S_x + tr S_y - 2 tr (S_x S_y)^(1/2) of two feature sets (n, d) and (m, d).

    ddof 1 divides the covariances by n - 1 (common_metrics, TATS), 0 by n (StyleGAN-V, cd-fvd).
    Raises ValueError on too few rows, unlike widths, or values that are not finite.
    """
    x_nd, y_nd = feature_sets(x_nd, y_nd)
    mean_x, mean_y = x_nd.mean(axis=0), y_nd.mean(axis=0)
    x_nd = (x_nd - mean_x) / np.sqrt(len(x_nd) - ddof)
    y_nd = (y_nd - mean_y) / np.sqrt(len(y_nd) - ddof)
    traces = np.square(x_nd).sum() + np.square(y_nd).sum()
    cross = float(np.linalg.svd(_factor(x_nd) @ _factor(y_nd).T, compute_uv=False).sum())
    distance = np.square(mean_x - mean_y).sum() + traces - 2.0 * cross
    return float(max(distance, 0.0))


def feature_sets(x_nd: np.ndarray, y_nd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two feature sets (n, d) and (m, d) in float64; ValueError when no distance of them can be taken."""
    x_nd, y_nd = (np.asarray(features, dtype=np.float64) for features in (x_nd, y_nd))
    for features in (x_nd, y_nd):
        if features.ndim != 2 or len(features) < 2:
            raise ValueError(f"features must be (n, d) with n >= 2, not {features.shape}")
        if not np.isfinite(features).all():
            raise ValueError(f"{int((~np.isfinite(features)).any(axis=1).sum())} features are not finite")
    if x_nd.shape[1] != y_nd.shape[1]:
        raise ValueError(f"features of unlike widths: {x_nd.shape[1]} and {y_nd.shape[1]}")
    return x_nd, y_nd


def _factor(x_nd: np.ndarray) -> np.ndarray:
    """R (d, d) with R^T R = X^T X, or X itself where it has no more rows than that."""
    if len(x_nd) <= x_nd.shape[1]:
        return x_nd
    # What Cholesky loses is eps |S|; in the trace of the root it counts at most sqrt(condition) times, and a lost
    # direction, sqrt(eps): a set of less than full rank would be 1e-6 from itself.
    covariance = x_nd.T @ x_nd
    upper, failed_at = lapack.dpotrf(covariance)
    if not failed_at and lapack.dpocon(upper, np.linalg.norm(covariance, 1))[0] * MAX_CONDITION > 1:
        return np.asarray(upper)
    return np.asarray(np.linalg.qr(x_nd, mode="r"))
