"""One evaluation: videos sampled from a model, set beside real clips, every figure with its set-up and interval."""

from __future__ import annotations

import math
import time
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.captions.cut_captions import CONDITIONING, SCORING, count_cut
from tasks.cluster import ensure_ray
from tasks.evaluation.features import Measures, Reading
from tasks.evaluation.leakage import check_unseen
from tasks.evaluation.measure_samples import NUM_SAMPLES, MeasuredVideos, SampledVideos, measure_sampled
from tasks.evaluation.networks import Networks, find_networks
from tasks.evaluation.protocols import Protocol, find_protocol
from tasks.evaluation.reference import Reference, ReferenceRequest, find_reference, measure_reference
from tasks.evaluation.report_parts import about_reference, estimates, over_time, value_digest
from tasks.evaluation.settings import EvaluationSettings
from tasks.evaluation.ucf101 import prompts_by_distribution, train_class_counts
from tasks.evaluation.workers import MeasuringPool, check_i3d
from tasks.generation.settings import SamplingSettings
from tasks.progress import OnProgress


@dataclass(frozen=True)
class Evaluation:
    """The report of one model and the rows it was made of; two with the same `setup_digest` may be compared.

    The report's keys: protocol, about, n, seed, fps, setup, setup_digest, metrics {name: {value, low, high,
    standard_error, n, protocol, ...}}, fvd_over_time {clips, stride_frames, values}, unavailable {metric: why}, samples
    [{prompt, seed, file, reference}], cut_prompts {conditioning, scoring: {cut, of, ...}}, seconds, reference {folder,
    digest, n, cached, unreadable, metrics}.
    """

    report: dict[str, Any]
    measures: Measures
    reference: Measures

    @property
    def setup_digest(self) -> str:
        """Stands for everything but the model."""
        return str(self.report["setup_digest"])


def evaluate_model(
    model_dir: Path,
    reference_dir: Path,
    clip: str,
    settings: EvaluationSettings,
    sampling: SamplingSettings,
    trained_on: Set[str] = frozenset(),
    on_progress: OnProgress | None = None,
) -> Evaluation:
    """Sample, measure and compare, on Ray; what earlier runs have measured is not measured again.

    `clip` is an open_clip folder or name; `trained_on` are the digests of the files that the model has seen. Where the
    I3D weights cannot be had there is no fvd, and `unavailable` says why. Raises RequestError when the settings do not
    fit the model or the reference folder, or the model has seen a file of that.
    """
    started_s = time.monotonic()
    protocol = find_protocol(settings.protocol)
    # Seams are measured where clips meet, so every frame has to be there.
    sampling = sampling.model_copy(update={"seam": "keep"})
    request = find_reference(reference_dir, protocol, settings, sampling.fps)
    check_unseen(request.digests_by_name(), trained_on, reference_dir)
    networks, unavailable = find_networks(clip, settings.c3d_weights)
    reading = Reading(
        protocol.num_frames, protocol.frame_repeats, sampling.num_frames, sampling.prompt_frames
    )
    ensure_ray()
    with MeasuringPool(networks, settings.num_videos) as pool:
        checked = dict(pool.run(check_i3d, {0: ()})) if networks.i3d else {}
        reference = measure_reference(request, reading, networks, pool, on_progress)
        reference_s = time.monotonic() - started_s
        prompts = _prompts(protocol, settings, reference_dir, reference)
        measured = _measure_model(
            model_dir, prompts, settings, sampling, reading, networks, pool, on_progress
        )
    setup = _setup(request, reference, prompts, sampling, networks)
    metrics = estimates(measured.all, reference.measures, protocol)
    if "fvd" in metrics:
        metrics["fvd"] |= {"ddof": protocol.ddof, "black_white_check": checked[0]}
    report = {
        "protocol": protocol.name,
        "about": protocol.about,
        "n": settings.num_videos,
        "seed": settings.seed,
        "fps": sampling.fps,
        "setup": setup,
        "setup_digest": value_digest(setup),
        "metrics": metrics,
        "fvd_over_time": over_time(measured.long, reference.measures, protocol, reading),
        "reference": about_reference(reference_dir, reference, protocol),
        "unavailable": unavailable,
        "cut_prompts": _cut(prompts, model_dir, clip),
        "samples": _samples(prompts, settings, measured, reference),
        "seconds": {
            "reference": round(reference_s, 2),
            "generated": round(time.monotonic() - started_s - reference_s, 2),
        },
    }
    return Evaluation(report, measured.all, reference.measures)


@dataclass(frozen=True)
class _Measured:
    """The rows of all videos in the prompts' order; the long ones come first and have windows of their own too."""

    all: Measures
    long: Measures | None
    files: dict[int, Path]


def _measure_model(
    model_dir: Path,
    prompts: list[str],
    settings: EvaluationSettings,
    sampling: SamplingSettings,
    reading: Reading,
    networks: Networks,
    pool: MeasuringPool,
    on_progress: OnProgress | None,
) -> _Measured:
    clips = math.ceil(reading.num_frames / sampling.num_frames)
    long, split = max(clips, settings.long_clips), settings.long_videos
    sets: list[MeasuredVideos] = []
    files: dict[int, Path] = {}
    for rows, length in ((range(split), long), (range(split, len(prompts)), clips)):
        if not rows:
            continue
        seeds = [(settings.seed + index) % 2**32 for index in rows]
        videos = SampledVideos(model_dir, [prompts[i] for i in rows], seeds, length, sampling)
        size = (settings.width, settings.height)
        sets.append(measure_sampled(videos, reading, networks, pool, size, on_progress))
        files |= {rows[index]: file for index, file in sets[-1].files.items()}
    joined = Measures.join([part.measures for part in sets])
    return _Measured(joined, sets[0].measures if split else None, files)


def _cut(prompts: list[str], model_dir: Path, clip: str) -> dict[str, Any]:
    """How many prompts the model, and how many CLIP, reads in part."""
    return count_cut(model_dir, clip, {CONDITIONING: prompts, SCORING: prompts})


def _prompts(
    protocol: Protocol, settings: EvaluationSettings, reference_dir: Path, reference: Reference
) -> list[str]:
    if protocol.prompts == "class-distribution":
        return prompts_by_distribution(train_class_counts(reference_dir), settings.num_videos, settings.seed)
    return reference.prompts


def _setup(
    request: ReferenceRequest,
    reference: Reference,
    prompts: list[str],
    sampling: SamplingSettings,
    networks: Networks,
) -> dict[str, Any]:
    """All that two evaluations must share to be compared, as plain values; how a model is sampled is its own."""
    settings = request.settings.model_dump(
        mode="json", include={"seed", "width", "height", "long_videos", "long_clips"}
    )
    return {
        **request.protocol.setup(sampling.fps, request.settings.num_videos, len(reference.prompts)),
        **settings,
        "reference": reference.digest,
        "prompts_digest": value_digest(prompts),
        "networks": networks.digest(),
        "clip_frames": sampling.num_frames,
    }


def _samples(
    prompts: list[str], settings: EvaluationSettings, measured: _Measured, reference: Reference
) -> list[dict[str, Any]]:
    paired = prompts == reference.prompts
    return [
        {
            "prompt": prompts[index],
            "seed": (settings.seed + index) % 2**32,
            "file": str(file),
            "reference": reference.files[index] if paired else None,
        }
        for index, file in sorted(measured.files.items())[:NUM_SAMPLES]
    ]
