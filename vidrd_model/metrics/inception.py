"""The inception score of class probabilities (arXiv 1606.03498), as StyleGAN-V and TGAN2 compute it."""

from itertools import pairwise

import numpy as np


def inception_score(
    probs_nk: np.ndarray, splits: int = 10, shuffle_seed: int | None = 42
) -> tuple[float, float]:
    """Mean and standard deviation over the splits of exp(mean KL(p(y|x) || p(y))), from softmax rows (n, k).

    StyleGAN-V shuffles the rows by `np.random.RandomState(shuffle_seed)` first. None keeps their order: TGAN2's
    formula, whose published numbers are the mean over ten such scores of one split, each of other videos. Balanced
    certain rows of k classes score k in one split; in ten, few rows per class cap the score. For an interval, see
    `jackknife`, which takes one split or each split as a row set.
    Raises ValueError when there are fewer rows than splits or a row is no distribution.
    """
    probs_nk = np.array(probs_nk, dtype=np.float64)
    if probs_nk.ndim != 2 or not 1 <= splits <= len(probs_nk):
        raise ValueError(f"probabilities must be (n, k) with n >= {splits} splits, not {probs_nk.shape}")
    if not (probs_nk >= 0).all() or not np.allclose(probs_nk.sum(axis=1), 1.0, atol=1e-3):
        raise ValueError("every row must be a softmax: not negative, summing to 1")
    if shuffle_seed is not None:
        np.random.RandomState(shuffle_seed).shuffle(probs_nk)
    # As StyleGAN-V: split i holds the rows i*n//splits to (i+1)*n//splits.
    bounds = [i * len(probs_nk) // splits for i in range(splits + 1)]
    scores = [_score(probs_nk[a:b]) for a, b in pairwise(bounds)]
    return float(np.mean(scores)), float(np.std(scores))


def _score(probs_nk: np.ndarray) -> float:
    marginal_k = probs_nk.mean(axis=0)
    ratio = np.divide(probs_nk, marginal_k, out=np.ones_like(probs_nk), where=probs_nk > 0)
    return float(np.exp((probs_nk * np.log(ratio)).sum(axis=1).mean()))
