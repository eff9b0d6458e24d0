"""The metrics of an evaluation, each with its interval: what is computed from the features of two sets of videos.

An interval is a delete-a-group jackknife's at the number of videos at hand. The same groups of rows are left out of
all sets, so the difference of two models on the same prompts and seeds has the interval of their pairs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from tasks.evaluation.directions import DIRECTIONS, Direction
from tasks.evaluation.features import VideoFeatures
from tasks.evaluation.protocols import Protocol
from tasks.evaluation.text_score import text_contrast
from vidrd_model.metrics.frechet import frechet_distance
from vidrd_model.metrics.inception import inception_score
from vidrd_model.metrics.intervals import Estimate, jackknife
from vidrd_model.metrics.kernel_distance import kernel_distance

Statistic = Callable[..., float]
Rows = Callable[[VideoFeatures], list[np.ndarray]]

_SHUFFLE_SEED = 42  # StyleGAN-V's, before an inception score is split
_LEAST_GROUPS = 14  # of 20 that a jackknife of many rows may have, the fewest


@dataclass(frozen=True)
class Metric:
    """One number of a set of videos: `statistic` of the row sets that `rows` takes from its features.

    With `against_reference` it also takes the real clips' rows. `signature` marks the failures that VidRD is prone to.
    No value lies outside `least` and `most`, so no interval reaches there. An interval leaves rows out, down to one
    fewer than there are, so it takes at least `fewest`.
    """

    name: str
    statistic: Statistic
    rows: Rows
    against_reference: bool = False
    signature: bool = False
    least: float = -math.inf
    most: float = math.inf
    fewest: int = 2

    @property
    def better(self) -> Direction:
        """Which way is better."""
        return DIRECTIONS[self.name]

    def estimate(self, features: VideoFeatures, reference: VideoFeatures) -> Estimate | None:
        """Returns the metric with its interval; None where its features are missing or are too few for an interval."""
        found = self._jackknife(self.statistic, (features,), reference)
        if found is None:
            return None
        return replace(found, low=max(found.low, self.least), high=min(found.high, self.most))

    def difference(
        self, candidate: VideoFeatures, champion: VideoFeatures, reference: VideoFeatures
    ) -> Estimate | None:
        """Returns candidate minus champion, row for row on the same prompts and seeds."""

        sets = len(self.rows(candidate))

        def difference(*rows: np.ndarray) -> float:
            mine, theirs, real = rows[:sets], rows[sets : 2 * sets], rows[2 * sets :]
            return self.statistic(*mine, *real) - self.statistic(*theirs, *real)

        return self._jackknife(difference, (candidate, champion), reference)

    def _jackknife(
        self, statistic: Statistic, sets: tuple[VideoFeatures, ...], reference: VideoFeatures
    ) -> Estimate | None:
        rows = [part for features in sets for part in self.rows(features)]
        if self.against_reference:
            rows += self.rows(reference)
        if any(len(part) < self.fewest or part[0].size == 0 for part in rows):
            return None
        return jackknife(statistic, *rows)


@dataclass(frozen=True)
class ReportedMetric:
    """A metric as a report has it: its estimate, and the protocol and number of videos without which it says nothing.

    An FVD also tells the divisor of its covariance and what I3D made of black beside white.
    """

    estimate: Estimate
    n: int
    protocol: str
    ddof: int | None = None
    black_white_check: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Returns plain values, as `report.json` has them."""
        of_fvd = {"ddof": self.ddof, "black_white_check": self.black_white_check}
        known = {name: value for name, value in of_fvd.items() if value is not None}
        return {**asdict(self.estimate), "n": self.n, "protocol": self.protocol, **known}


def protocol_metrics(protocol: Protocol) -> dict[str, Metric]:
    """Returns all metrics of a protocol by name, the deciding ones first."""
    return {metric.name: metric for metric in _metrics(protocol.ddof, protocol.is_splits)}


def reported_metrics(
    features: VideoFeatures,
    reference: VideoFeatures | None,
    protocol: Protocol,
    black_white_check: float | None = None,
) -> dict[str, ReportedMetric]:
    """Returns the metrics that these features give; without a reference those that need none.

    `black_white_check` is that of the I3D which made the features.
    """
    found: dict[str, ReportedMetric] = {}
    for name, metric in protocol_metrics(protocol).items():
        if reference is None and metric.against_reference:
            continue
        estimate = metric.estimate(features, features if reference is None else reference)
        if estimate is not None:
            n = sum(len(rows) for rows in metric.rows(features))
            found[name] = ReportedMetric(estimate, n, protocol.name)
    if "fvd" in found:
        found["fvd"] = replace(found["fvd"], ddof=protocol.ddof, black_white_check=black_white_check)
    return found


def too_few_videos(metrics: Mapping[str, ReportedMetric], has_i3d: bool) -> dict[str, str]:
    """Returns why there is no FVD though there is an I3D, by name; nothing where there is one, or no I3D."""
    if not has_i3d or "fvd" in metrics:
        return {}
    return {"fvd": "its interval takes three videos, and three real clips, at least"}


def named_metrics(
    metrics: Mapping[str, ReportedMetric], reference: Mapping[str, ReportedMetric]
) -> dict[str, float]:
    """Returns a report's metrics, and its real clips', under their names in MLflow: `fvd.tiny.n48`, and its `.low`.

    A name carries the protocol and the number of videos, so that unlike metrics never share a name.
    """
    named: dict[str, float] = {}
    for suffix, group in (("", metrics), ("_reference", reference)):
        for name, metric in group.items():
            key, estimate = f"{name}{suffix}.{metric.protocol}.n{metric.n}", metric.estimate
            named |= {key: estimate.value, f"{key}.low": estimate.low, f"{key}.high": estimate.high}
    return {key: float(value) for key, value in named.items()}


def sliding_fvd(features: VideoFeatures, reference: VideoFeatures, ddof: int) -> list[float]:
    """Returns the Fréchet distance of each window of long videos to the real clips, in the order of time."""
    (real_nd,) = _first_window(reference)
    if not real_nd.size or len(features) < 2:
        return []
    windows = features.i3d_nwd.shape[1]
    return [frechet_distance(features.i3d_nwd[:, w], real_nd, ddof=ddof) for w in range(windows)]


def _metrics(ddof: int, inception_splits: int) -> Iterator[Metric]:
    def frechet(x_nd: np.ndarray, y_nd: np.ndarray) -> float:
        return frechet_distance(x_nd, y_nd, ddof=ddof)

    def splits(probs_nk: np.ndarray) -> list[np.ndarray]:
        order = np.random.RandomState(_SHUFFLE_SEED).permutation(len(probs_nk))
        return np.array_split(probs_nk[order], inception_splits)

    yield Metric("fvd", frechet, _first_window, against_reference=True, least=0.0, fewest=3)
    yield Metric("kvd", kernel_distance, _first_window, against_reference=True, fewest=3)
    yield Metric("is", _inception, lambda features: splits(features.class_probs_nk), least=1.0)
    yield Metric("is_i3d", _inception, lambda features: splits(_kinetics_probs(features)), least=1.0)
    yield Metric("text_score", _mean, _text_scores, least=-1.0, most=1.0)
    yield Metric("text_contrast", _contrast, _captioned, least=-2.0, most=2.0)
    yield Metric("frame_consistency", _mean, _first_frame_consistency, least=-1.0, most=1.0)
    yield Metric("pixel_consistency", _mean, lambda features: [features.pixel_consistency_n])
    yield Metric("motion", _mean, lambda features: [features.motion_nw[:, 0]], least=0.0)
    yield Metric("frozen", _mean, lambda features: [features.frozen_n], signature=True, least=0, most=1)
    for name, most in (("cycling", 1.0), ("seam_boundary", math.inf), ("seam_guided_to_free", math.inf)):
        yield Metric(name, _mean, _of_long_videos(f"{name}_n"), signature=True, least=0, most=most)


def _first_window(features: VideoFeatures) -> list[np.ndarray]:
    return [features.i3d_nwd[:, 0]]


def _first_frame_consistency(features: VideoFeatures) -> list[np.ndarray]:
    return [features.frame_consistency_nw[:, 0]]


def _text_scores(features: VideoFeatures) -> list[np.ndarray]:
    # Of videos without captions there are none: no window either.
    scores_nw = features.text_score_nw
    return [scores_nw[:, 0] if scores_nw.shape[1] else scores_nw]


def _captioned(features: VideoFeatures) -> list[np.ndarray]:
    """Returns CLIP's vectors of video and caption side by side, and the caption's number, row by row.

    None where leaving out one of a jackknife's groups may leave no two captions.
    """
    videos = len(features)
    _, number_n, counts = np.unique(features.caption_n, return_inverse=True, return_counts=True)
    if not features.clip_text_nd.shape[1] or videos - counts.max() <= max(1, videos // _LEAST_GROUPS):
        return [np.zeros((videos, 0))]
    columns = [features.clip_video_nd, features.clip_text_nd, number_n[:, None]]
    return [np.concatenate(columns, axis=1, dtype=np.float64)]


def _contrast(rows_nd: np.ndarray) -> float:
    width = rows_nd.shape[1] // 2
    return text_contrast(rows_nd[:, :width], rows_nd[:, width:-1], rows_nd[:, -1])


def _inception(*splits_nk: np.ndarray) -> float:
    scores = [inception_score(part_nk, splits=1, shuffle_seed=None)[0] for part_nk in splits_nk]
    return math.fsum(scores) / len(scores)


def _kinetics_probs(features: VideoFeatures) -> np.ndarray:
    """Returns the softmax of I3D's logits: another network than the inception score's, so another name."""
    logits_nd = features.i3d_nwd[:, 0].astype(np.float64)
    if not logits_nd.size:
        return logits_nd
    exponents_nd = np.exp(logits_nd - logits_nd.max(axis=1, keepdims=True))
    return exponents_nd / exponents_nd.sum(axis=1, keepdims=True)


def _of_long_videos(column: str) -> Rows:
    def rows(features: VideoFeatures) -> list[np.ndarray]:
        values_n: np.ndarray = getattr(features, column)
        return [values_n[np.isfinite(values_n)]]

    return rows


def _mean(values_n: np.ndarray) -> float:
    return math.fsum(values_n) / len(values_n)
