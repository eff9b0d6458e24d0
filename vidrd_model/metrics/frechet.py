"""The Fréchet distance of two Gaussians fitted to features, exactly and without a matrix square root.

Dowson and Landau (1982); Unterthiner et al., "FVD", arXiv 1812.01717. The trace of (S_x S_y)^(1/2) is the sum
of the singular values of Xc Yc^T, Xc and Yc being the centred features over sqrt(n - ddof): it holds for n < d
as well.
"""

import numpy as np


def frechet_distance(x_nd: np.ndarray, y_nd: np.ndarray, ddof: int = 1) -> float:
    """|mu_x - mu_y|^2 + tr S_x + tr S_y - 2 tr (S_x S_y)^(1/2) of two feature sets (n, d) and (m, d).

    ddof 1 divides the covariances by n - 1 (common_metrics, TATS), 0 by n (StyleGAN-V, cd-fvd).
    Raises ValueError on too few rows, unlike widths, or values that are not finite.
    """
    x_nd, mean_x = _centred(x_nd, ddof)
    y_nd, mean_y = _centred(y_nd, ddof)
    if x_nd.shape[1] != y_nd.shape[1]:
        raise ValueError(f"features of unlike widths: {x_nd.shape[1]} and {y_nd.shape[1]}")
    traces = np.square(x_nd).sum() + np.square(y_nd).sum()
    # The singular values of Xc Yc^T are those of Rx Ry^T: d x d at most, however many rows there are.
    cross = np.linalg.svd(_triangle(x_nd) @ _triangle(y_nd).T, compute_uv=False).sum()
    distance = np.square(mean_x - mean_y).sum() + traces - 2.0 * cross
    return float(max(distance, 0.0))


def _centred(features: np.ndarray, ddof: int) -> tuple[np.ndarray, np.ndarray]:
    """Features without their mean, divided by sqrt(n - ddof), and the mean; float64."""
    features = np.asarray(features, dtype=np.float64)
    if features.ndim != 2 or len(features) <= max(ddof, 1):
        raise ValueError(f"features must be (n, d) with n >= 2, not {features.shape}")
    if not np.isfinite(features).all():
        raise ValueError(f"{int((~np.isfinite(features)).any(axis=1).sum())} features are not finite")
    mean = features.mean(axis=0)
    return (features - mean) / np.sqrt(len(features) - ddof), mean


def _triangle(x_nd: np.ndarray) -> np.ndarray:
    if len(x_nd) <= x_nd.shape[1]:
        return x_nd
    return np.asarray(np.linalg.qr(x_nd, mode="r"))
