"""The figures of an evaluation, each with its interval: what is made of the measures of two sets of videos.

An interval is a delete-a-group jackknife's at the number of videos at hand. The same groups of rows are left out of
all sets, so the difference of two models on the same prompts and seeds has the interval of their pairs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from tasks.evaluation.features import Measures
from tasks.evaluation.text_score import text_contrast
from vidrd_model.metrics.frechet import frechet_distance
from vidrd_model.metrics.inception import inception_score
from vidrd_model.metrics.intervals import Estimate, jackknife
from vidrd_model.metrics.kernel_distance import kernel_distance

Statistic = Callable[..., float]
Rows = Callable[[Measures], list[np.ndarray]]

_SHUFFLE_SEED = 42  # StyleGAN-V's, before an inception score is split
_LEAST_GROUPS = 14  # of 20 that a jackknife of many rows may have, the fewest


@dataclass(frozen=True)
class Figure:
    """One number of a set of videos: `statistic` of the row sets that `rows` takes from its measures.

    With `against_reference` it also takes the real clips' rows. `better` says which way is better; `signature` marks
    the failures that VidRD is prone to. No value lies outside `least` and `most`, so no interval reaches there.
    """

    name: str
    statistic: Statistic
    rows: Rows
    better: Literal["lower", "higher", "neither"]
    against_reference: bool = False
    signature: bool = False
    least: float = -math.inf
    most: float = math.inf

    def estimate(self, measures: Measures, reference: Measures) -> Estimate | None:
        """The figure with its interval; None where its measures are missing or are too few for an interval."""
        found = self._jackknife(self.statistic, (measures,), reference)
        if found is None:
            return None
        return replace(found, low=max(found.low, self.least), high=min(found.high, self.most))

    def difference(self, candidate: Measures, champion: Measures, reference: Measures) -> Estimate | None:
        """Candidate minus champion, row for row on the same prompts and seeds."""

        sets = len(self.rows(candidate))

        def difference(*rows: np.ndarray) -> float:
            mine, theirs, real = rows[:sets], rows[sets : 2 * sets], rows[2 * sets :]
            return self.statistic(*mine, *real) - self.statistic(*theirs, *real)

        return self._jackknife(difference, (candidate, champion), reference)

    def _jackknife(
        self, statistic: Statistic, sets: tuple[Measures, ...], reference: Measures
    ) -> Estimate | None:
        rows = [part for measures in sets for part in self.rows(measures)]
        if self.against_reference:
            rows += self.rows(reference)
        if any(len(part) < 2 or part[0].size == 0 for part in rows):
            return None
        return jackknife(statistic, *rows)


def figures(ddof: int, inception_splits: int) -> Iterator[Figure]:
    """All figures of a protocol, the deciding ones first."""

    def frechet(x_nd: np.ndarray, y_nd: np.ndarray) -> float:
        return frechet_distance(x_nd, y_nd, ddof=ddof)

    def splits(probs_nk: np.ndarray) -> list[np.ndarray]:
        order = np.random.RandomState(_SHUFFLE_SEED).permutation(len(probs_nk))
        return np.array_split(probs_nk[order], inception_splits)

    yield Figure("fvd", frechet, _first_window, "lower", against_reference=True, least=0.0)
    yield Figure("kvd", kernel_distance, _first_window, "lower", against_reference=True)
    yield Figure("is", _inception, lambda measures: splits(measures.class_probs_nk), "higher", least=1.0)
    yield Figure(
        "is_i3d", _inception, lambda measures: splits(_kinetics_probs(measures)), "higher", least=1.0
    )
    yield Figure("text_score", _mean, _text_scores, "higher", least=-1.0, most=1.0)
    yield Figure("text_contrast", _contrast, _captioned, "higher", least=-2.0, most=2.0)
    yield Figure(
        "frame_consistency",
        _mean,
        lambda measures: [measures.frame_consistency_nw[:, 0]],
        "neither",
        least=-1.0,
        most=1.0,
    )
    yield Figure("pixel_consistency", _mean, lambda measures: [measures.pixel_consistency_n], "neither")
    yield Figure("motion", _mean, lambda measures: [measures.motion_nw[:, 0]], "neither", least=0.0)
    yield Figure(
        "frozen", _mean, lambda measures: [measures.frozen_n], "lower", signature=True, least=0, most=1
    )
    for name, most in (("cycling", 1.0), ("seam_boundary", math.inf), ("seam_guided_to_free", math.inf)):
        yield Figure(name, _mean, _of_long_videos(f"{name}_n"), "lower", signature=True, least=0, most=most)


def recorded_figures(report: Mapping[str, Any]) -> dict[str, float]:
    """The figures of an evaluation's report under the names that the registry keeps: `fvd.tiny.n48`, and its `.low`.

    A name carries the protocol and the number of videos, so that figures of unlike ones never share a name.
    """
    groups = (("", report["metrics"]), ("_reference", report["reference"]["metrics"]))
    named: dict[str, float] = {}
    for suffix, metrics in groups:
        for name, metric in metrics.items():
            key = f"{name}{suffix}.{metric['protocol']}.n{metric['n']}"
            named |= {key: metric["value"], f"{key}.low": metric["low"], f"{key}.high": metric["high"]}
    return {key: float(value) for key, value in named.items()}


def sliding_fvd(measures: Measures, reference: Measures, ddof: int) -> list[float]:
    """The Fréchet distance of each window of long videos to the real clips, in the order of time."""
    (real_nd,) = _first_window(reference)
    if not real_nd.size or len(measures) < 2:
        return []
    windows = measures.i3d_nwd.shape[1]
    return [frechet_distance(measures.i3d_nwd[:, w], real_nd, ddof=ddof) for w in range(windows)]


def _first_window(measures: Measures) -> list[np.ndarray]:
    return [measures.i3d_nwd[:, 0]]


def _text_scores(measures: Measures) -> list[np.ndarray]:
    # Of videos without captions there are none: no window either.
    scores_nw = measures.text_score_nw
    return [scores_nw[:, 0] if scores_nw.shape[1] else scores_nw]


def _captioned(measures: Measures) -> list[np.ndarray]:
    """CLIP's vectors of video and caption side by side, and the caption's number, row by row.

    None where leaving out one of a jackknife's groups may leave no two captions.
    """
    videos = len(measures)
    _, number_n, counts = np.unique(measures.caption_n, return_inverse=True, return_counts=True)
    if not measures.clip_text_nd.shape[1] or videos - counts.max() <= max(1, videos // _LEAST_GROUPS):
        return [np.zeros((videos, 0))]
    columns = [measures.clip_video_nd, measures.clip_text_nd, number_n[:, None]]
    return [np.concatenate(columns, axis=1, dtype=np.float64)]


def _contrast(rows_nd: np.ndarray) -> float:
    width = rows_nd.shape[1] // 2
    return text_contrast(rows_nd[:, :width], rows_nd[:, width:-1], rows_nd[:, -1])


def _inception(*splits_nk: np.ndarray) -> float:
    return math.fsum(inception_score(part_nk, splits=1, shuffle_seed=None)[0] for part_nk in splits_nk) / len(
        splits_nk
    )


def _kinetics_probs(measures: Measures) -> np.ndarray:
    """The softmax of I3D's logits: another network than the inception score's, so another name."""
    logits_nd = measures.i3d_nwd[:, 0].astype(np.float64)
    if not logits_nd.size:
        return logits_nd
    exponents_nd = np.exp(logits_nd - logits_nd.max(axis=1, keepdims=True))
    return exponents_nd / exponents_nd.sum(axis=1, keepdims=True)


def _of_long_videos(column: str) -> Rows:
    def rows(measures: Measures) -> list[np.ndarray]:
        values_n: np.ndarray = getattr(measures, column)
        return [values_n[np.isfinite(values_n)]]

    return rows


def _mean(values_n: np.ndarray) -> float:
    return math.fsum(values_n) / len(values_n)
