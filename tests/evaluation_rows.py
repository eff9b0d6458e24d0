"""Rows of evaluations without any network: what `measure` would give for videos of a stated quality."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from storage.registry.evaluation_files import keep_evaluation
from storage.registry.names import FEATURES_FILE, REFERENCE_FILE, SETUP_TAG
from storage.registry.registry import Registry
from tasks.evaluation.features import VideoFeatures, save_features


def rows(
    n: int = 40,
    *,
    shift: float = 0.0,
    text: float = 0.29,
    cycling: float = 0.1,
    boundary: float = 1.0,
    seed: int = 0,
    long: int = 16,
    width: int = 4,
    wrong: float = 0.05,
) -> VideoFeatures:
    """Measures of `n` videos, drawn from the seed: the same seed gives the same videos but for what is asked for.

    `shift` moves all features, so it is what a Fréchet distance grows with; `long` videos have seams. `text` is the
    score with a video's own caption and `wrong` that with any other; each caption is that of two videos.
    """
    rng = np.random.default_rng(seed)
    nan = np.full(n - long, np.nan)

    def around(value: float, spread: float, count: int) -> np.ndarray:
        return value + spread * rng.standard_normal(count)

    caption_n = np.arange(n) // 2
    captions = n - n // 2
    features = VideoFeatures(
        i3d_nwd=(rng.standard_normal((n, 1, width)) + shift).astype(np.float32),
        class_probs_nk=np.zeros((n, 0), np.float32),
        text_score_nw=around(text, 0.01, n)[:, None],
        frame_consistency_nw=around(0.97, 0.005, n)[:, None],
        motion_nw=around(5.0, 1.0, n)[:, None],
        pixel_consistency_n=around(0.97, 0.005, n),
        frozen_n=np.clip(around(0.05, 0.02, n), 0, 1),
        cycling_n=np.concatenate([around(cycling, 0.02, long), nan]),
        seam_boundary_n=np.concatenate([around(boundary, 0.1, long), nan]),
        seam_guided_to_free_n=np.concatenate([around(1.0, 0.1, long), nan]),
        clip_video_nd=around(wrong, 0.01, n * captions).reshape(n, captions),
        clip_text_nd=np.eye(captions)[caption_n],
        caption_n=caption_n.astype(np.uint64),
    )
    features.clip_video_nd[np.arange(n), caption_n] = features.text_score_nw[:, 0]
    return features


def record_rows(
    registry: Registry, version: int, features: VideoFeatures, setup: str, real: VideoFeatures | None = None
) -> None:
    """Leave rows with a version, as `vidrd evaluate` does, beside real clips that are the same for all."""
    real = rows(len(features), text=0.3, seed=99, long=0) if real is None else real
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in (FEATURES_FILE, REFERENCE_FILE)]
        save_features(files[0], features, {})
        save_features(files[1], real, {})
        keep_evaluation(registry, version, setup, files)
    tags = {"evaluation.protocol": "tiny", "evaluation.n": str(len(features)), "evaluation.reference": "r"}
    figures = {f"text_score.tiny.n{len(features)}": float(features.text_score_nw.mean())}
    registry.log_version_metrics(version, figures, tags | {SETUP_TAG: setup})


def newest_metrics(registry: Registry, version: int) -> dict[str, float]:
    """What `log_version_metrics` has recorded of a version, the newest of each name."""
    return {metric.name: metric.value for metric in registry.recorded_metrics(version)}


def reported_names(report: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of a printed report under the names that MLflow must have: `fvd.tiny.n48`, and its bounds."""
    groups = (("", report["metrics"]), ("_reference", report["reference"]["metrics"]))
    return {
        f"{name}{suffix}.{metric['protocol']}.n{metric['n']}{end}": metric[key]
        for suffix, metrics in groups
        for name, metric in metrics.items()
        for end, key in (("", "value"), (".low", "low"), (".high", "high"))
    }
