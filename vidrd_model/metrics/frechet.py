"""The Fréchet distance of two Gaussians fitted to features, exactly and without a matrix square root.

Dowson and Landau (1982); Unterthiner et al., "FVD", arXiv 1812.01717. The trace of (S_x S_y)^(1/2) is the sum
of the singular values of Xc Yc^T, Xc and Yc being the centred features over sqrt(n - ddof): it holds for n < d
as well. With more rows than columns on both sides it is also the sum of the square roots of the eigenvalues of
L^T S_y L, S_x = L L^T, which takes a third of the time; that form loses digits where the eigenvalues are small,
so it counts only where its error is known to be.
"""

import numpy as np

TOLERANCE = 1e-10
"""The error of the faster form, over the sum of the two covariances' traces, up to which it counts."""


def frechet_distance(x_nd: np.ndarray, y_nd: np.ndarray, ddof: int = 1) -> float:
    """|mu_x - mu_y|^2 + tr S_x + tr S_y - 2 tr (S_x S_y)^(1/2) of two feature sets (n, d) and (m, d).

    ddof 1 divides the covariances by n - 1 (common_metrics, TATS), 0 by n (StyleGAN-V, cd-fvd).
    Raises ValueError on too few rows, unlike widths, or values that are not finite.
    """
    x_nd, y_nd = feature_sets(x_nd, y_nd)
    mean_x, mean_y = x_nd.mean(axis=0), y_nd.mean(axis=0)
    x_nd = (x_nd - mean_x) / np.sqrt(len(x_nd) - ddof)
    y_nd = (y_nd - mean_y) / np.sqrt(len(y_nd) - ddof)
    traces = float(np.square(x_nd).sum() + np.square(y_nd).sum())
    cross = _cross_from_moments(x_nd, y_nd, traces)
    if cross is None:
        # The singular values of Xc Yc^T are those of Rx Ry^T: d x d at most, however many rows there are.
        cross = float(np.linalg.svd(_triangle(x_nd) @ _triangle(y_nd).T, compute_uv=False).sum())
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


def _cross_from_moments(x_nd: np.ndarray, y_nd: np.ndarray, traces: float) -> float | None:
    """tr (S_x S_y)^(1/2) from the covariances, or None where that is not exact enough."""
    if min(len(x_nd), len(y_nd)) <= x_nd.shape[1]:
        return None
    cov_x, cov_y = x_nd.T @ x_nd, y_nd.T @ y_nd
    try:
        lower = np.linalg.cholesky(cov_x)
    except np.linalg.LinAlgError:
        return None
    eigenvalues = np.linalg.eigvalsh(lower.T @ cov_y @ lower)
    if not eigenvalues[0] > 0:
        return None
    # An eigenvalue is off by eps |S_x| |S_y|, its root by that over twice the root.
    off = np.finfo(np.float64).eps * np.linalg.norm(cov_x) * np.linalg.norm(cov_y)
    roots = np.sqrt(eigenvalues)
    return float(roots.sum()) if (off / (2 * roots)).sum() <= TOLERANCE * traces else None


def _triangle(x_nd: np.ndarray) -> np.ndarray:
    if len(x_nd) <= x_nd.shape[1]:
        return x_nd
    return np.asarray(np.linalg.qr(x_nd, mode="r"))
