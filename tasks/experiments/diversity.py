"""Measures how much videos vary: between two seeds of a prompt, and within a video from its first clip to its last.

Both are Euclidean distances of I3D's logits, the space of the FVD.
"""

from __future__ import annotations

import math

import numpy as np

from tasks.evaluation.features import VideoFeatures
from vidrd_model.metrics.intervals import Estimate, jackknife


def between_seeds(features: VideoFeatures, other_seeds: VideoFeatures) -> Estimate | None:
    """Returns the mean distance of two videos of one prompt from two seeds, row i of both; None without I3D.

    A video's features are the mean of its windows.
    """
    return _mean(_distances(features.i3d_nwd.mean(axis=1), other_seeds.i3d_nwd.mean(axis=1)))


def between_clips(features: VideoFeatures, other_seeds: VideoFeatures) -> Estimate | None:
    """Returns how far a video's last window is from its first, as a share of that of two seeds' first windows.

    1 is a video whose end has as little to do with its beginning as with another video of the prompt, 0 one that
    repeats itself. With three clips and more the last one is guided by a clip that is not the first. The divisor hangs
    on the prompts and seeds alone, since the first clip of a video is the same however the later ones are made, and the
    interval takes it as fixed.
    """
    n = len(other_seeds)
    apart_n = _distances(features.i3d_nwd[:, -1], features.i3d_nwd[:, 0])
    unlike_n = _distances(features.i3d_nwd[:n, 0], other_seeds.i3d_nwd[:, 0])
    if not unlike_n.size or not unlike_n.mean() > 0:
        return None
    return _mean(apart_n / unlike_n.mean())


def _distances(x_nd: np.ndarray, y_nd: np.ndarray) -> np.ndarray:
    """Returns those of the rows that both have; none where there are no features."""
    if not x_nd.shape[1]:
        return np.zeros(0)
    n = min(len(x_nd), len(y_nd))
    return np.linalg.norm(x_nd[:n].astype(np.float64) - y_nd[:n], axis=1)


def _mean(values_n: np.ndarray) -> Estimate | None:
    return jackknife(lambda rows_n: math.fsum(rows_n) / len(rows_n), values_n) if len(values_n) > 1 else None
