"""One evaluation: videos sampled from the reference's captions, set beside the real clips."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np

from storage.errors import StorageError
from tasks.evaluation.features import Measures, Networks, i3d_check, remote
from tasks.evaluation.generated import GeneratedVideos, Sampler, measure_generated
from tasks.evaluation.i3d_weights import i3d_weights
from tasks.evaluation.reference import measure_reference
from tasks.evaluation.settings import EvaluationSettings, find_protocol
from tasks.generation.settings import SamplingSettings
from tasks.progress import OnProgress
from vidrd_model.metrics.frechet import frechet_distance

DDOF = 1


def evaluate_model(
    model_dir: Path,
    reference_dir: Path,
    clip: str,
    settings: EvaluationSettings,
    sampling: SamplingSettings,
    *,
    samples_dir: Path | None = None,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """The report of one model, made on the running Ray session; n and protocol stand beside every number.

    Keys: protocol, about, n, seed, fps, metrics {name: {value, n, protocol, ...}}, unavailable {metric: why},
    samples [{prompt, seed, file, reference}], seconds, reference {folder, digest, cached, unreadable,
    metrics}. `clip` is an open_clip folder or name. Where the I3D weights cannot be had there is no fvd, and
    `unavailable` says why. The first videos are written as mp4 to `samples_dir`. Raises RequestError when the
    settings do not fit the model or the reference folder.
    """
    import ray

    started = time.monotonic()
    protocol = find_protocol(settings.protocol)
    unavailable: dict[str, str] = {}
    try:
        i3d: str | None = str(i3d_weights())
    except StorageError as error:
        i3d, unavailable["fvd"] = None, str(error)
    networks = Networks(str(clip), i3d, protocol.frame_repeats)
    check = remote(i3d_check).remote(networks) if i3d else None

    reference = measure_reference(reference_dir, settings, sampling.fps, networks, on_progress)
    measured_reference = time.monotonic()
    sampler = Sampler(model_dir, reference.prompts, settings, sampling)
    generated = measure_generated(sampler, networks, samples_dir, on_progress)
    metrics = _means(generated.measures, protocol.name) | _seams(generated, protocol.name)
    if check is not None:
        metrics["fvd"] = {
            "value": frechet_distance(generated.measures.i3d_nd, reference.measures.i3d_nd, ddof=DDOF),
            "n": settings.num_videos,
            "protocol": protocol.name,
            "ddof": DDOF,
            "black_white_check": ray.get(check),
        }
    return {
        "protocol": protocol.name,
        "about": protocol.about,
        "n": settings.num_videos,
        "seed": settings.seed,
        "fps": sampling.fps,
        "metrics": metrics,
        "reference": {
            "folder": str(reference_dir),
            "digest": reference.digest,
            "cached": reference.cached,
            "unreadable": reference.unreadable,
            "metrics": _means(reference.measures, protocol.name),
        },
        "unavailable": unavailable,
        "samples": [
            {
                "prompt": sampler.prompts[index],
                "seed": sampler.seed(index),
                "file": generated.files[index],
                "reference": reference.files[index],
            }
            for index in sorted(generated.files)
        ],
        "seconds": {
            "reference": round(measured_reference - started, 2),
            "generated": round(time.monotonic() - measured_reference, 2),
        },
    }


def _means(measures: Measures, protocol: str) -> dict[str, dict[str, Any]]:
    return {
        "text_score": _mean(measures.text_score_n, protocol),
        "frame_consistency": _mean(measures.frame_consistency_n, protocol),
        "motion": _mean(measures.motion_n, protocol),
    }


def _seams(generated: GeneratedVideos, protocol: str) -> dict[str, dict[str, Any]]:
    if not generated.seams:
        return {}
    columns = {
        "seam_boundary": np.array([ratios.boundary for ratios in generated.seams]),
        "seam_guided_to_free": np.array([ratios.guided_to_free for ratios in generated.seams]),
    }
    return {
        name: _mean(values_n, protocol) | {"largest": float(values_n.max())}
        for name, values_n in columns.items()
    }


def _mean(values_n: np.ndarray, protocol: str) -> dict[str, Any]:
    """The mean over videos with its standard error."""
    n = len(values_n)
    error = float(values_n.std(ddof=1) / math.sqrt(n)) if n > 1 else None
    return {"value": float(values_n.mean()), "standard_error": error, "n": n, "protocol": protocol}
