"""Checks whether the gate can judge at all: enough videos, finite, in pairs, with every metric that decides.

What is missing on one side only would otherwise decide nothing, and so in favour of whoever lacks it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tasks.evaluation.features import VideoFeatures
from tasks.evaluation.metrics import Metric, protocol_metrics
from tasks.evaluation.protocols import Protocol
from tasks.evaluation.settings import GateSettings
from tasks.evaluation.verdict import CannotJudge
from vidrd_model.metrics.intervals import Estimate

_OF_LONG_VIDEOS = ("cycling_n", "seam_boundary_n", "seam_guided_to_free_n")  # nan for all others
_AGAIN = "run vidrd evaluate --beside-champion again"


def check_rows(
    candidate: VideoFeatures, champion: VideoFeatures | None, reference: VideoFeatures, gate: GateSettings
) -> None:
    """CannotJudge when these rows allow no verdict."""
    sets = {"candidate": candidate, "champion": champion, "reference": reference}
    present = {whose: features for whose, features in sets.items() if features is not None}
    _check_enough(present, gate)
    for whose, features in present.items():
        _check_finite(whose, features)
    _check_networks(present)
    if champion is not None:
        _check_pairs(candidate, champion)
    for whose, features in present.items():
        if not features.text_score_nw.shape[1]:
            raise CannotJudge(f"The {whose} has no text_score; {_AGAIN}.")
        if features is not reference:  # real clips are too short for seams and cycling
            _check_long(whose, features)


def clip_problem(protocol: Protocol, candidate: VideoFeatures, reference: VideoFeatures) -> str | None:
    """Returns why CLIP cannot judge these real clips; None where it surely prefers their own captions to wrong ones.

    CannotJudge where the rows do not tell.
    """
    contrast = protocol_metrics(protocol)["text_contrast"]
    _contrast_of("candidate", candidate, contrast)
    found = _contrast_of("reference", reference, contrast)
    if found.low > 0:
        return None
    return (
        "CLIP does not know what the reference clips show, so no text_score can be trusted: right captions score "
        f"{found.value:.4f} more than wrong ones, 95% interval {found.low:.4f} to {found.high:.4f}; judge with a "
        "profile whose CLIP knows them."
    )


def _contrast_of(whose: str, features: VideoFeatures, contrast: Metric) -> Estimate:
    if not features.clip_text_nd.shape[1]:
        raise CannotJudge(
            f"The {whose} was measured by an older version, which did not score wrong captions; {_AGAIN}."
        )
    found = estimate_metric(contrast, whose, features, features)
    if found is None:
        raise CannotJudge(
            f"The {len(features)} captions of the {whose} are too much alike to see whether CLIP tells right ones from "
            "wrong ones."
        )
    return found


def estimate_metric(
    metric: Metric, whose: str, features: VideoFeatures, reference: VideoFeatures
) -> Estimate | None:
    """Returns the metric's estimate, None where it has no rows; CannotJudge where they give no number."""
    try:
        return metric.estimate(features, reference)
    except ValueError as error:
        raise CannotJudge(f"The {whose}'s {metric.name} cannot be taken: {error}.") from error


def _check_enough(present: Mapping[str, VideoFeatures], gate: GateSettings) -> None:
    for whose, features in present.items():
        if len(features) < gate.min_videos:
            raise CannotJudge(
                f"The {whose} has {len(features)} videos, too few for a verdict: the gate asks for {gate.min_videos} "
                "at least (min_videos), so evaluate with a larger num_videos."
            )


def _check_finite(whose: str, features: VideoFeatures) -> None:
    for name, column in features.arrays().items():
        rows = column.reshape(len(features), -1)
        bad = np.isinf(rows) if name in _OF_LONG_VIDEOS else ~np.isfinite(rows)
        if bad.any():
            raise CannotJudge(
                f"The {whose}'s {_metric_of(name)} is not finite for {int(bad.any(axis=1).sum())} of "
                f"{len(features)} videos; {_AGAIN}."
            )


def _check_networks(present: Mapping[str, VideoFeatures]) -> None:
    """Raises CannotJudge unless I3D has looked at all sets, or at none."""
    widths = {whose: features.i3d_nwd.shape[2] for whose, features in present.items()}
    if len(set(widths.values())) > 1:
        told = ", ".join(f"{width or 'no'} of the {whose}" for whose, width in widths.items())
        raise CannotJudge(f"There is no fvd to compare by, since I3D's features differ: {told}; {_AGAIN}.")


def _check_pairs(candidate: VideoFeatures, champion: VideoFeatures) -> None:
    if len(candidate) != len(champion):
        raise CannotJudge(
            f"The candidate has {len(candidate)} videos and the champion {len(champion)}, which are no pairs; {_AGAIN}."
        )
    for name in ("cycling_n", "seam_boundary_n"):
        mine, theirs = (np.isfinite(getattr(features, name)) for features in (candidate, champion))
        if not np.array_equal(mine, theirs):
            raise CannotJudge(
                f"The {_metric_of(name)} of candidate and champion is not of the same videos; {_AGAIN}."
            )


def _check_long(whose: str, features: VideoFeatures) -> None:
    for name in ("cycling_n", "seam_boundary_n"):
        if np.isfinite(getattr(features, name)).sum() < 2:
            raise CannotJudge(
                f"The {whose} has no {_metric_of(name)}, for which two videos of several clips are needed: set "
                f"long_videos and {_AGAIN}."
            )


def _metric_of(column: str) -> str:
    """Returns the name of the metric that a column is for."""
    names = {
        "i3d_nwd": "fvd",
        "class_probs_nk": "is",
        "clip_video_nd": "text_contrast",
        "clip_text_nd": "text_contrast",
    }
    return names.get(column, column.rpartition("_")[0])
