"""Evaluates a model: videos are sampled from it and compared with real clips."""

from __future__ import annotations

import math
import time
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.captions.cut_captions import CONDITIONING, SCORING, count_cut
from tasks.evaluation.features import Reading, VideoFeatures
from tasks.evaluation.leakage import check_unseen
from tasks.evaluation.measure_samples import NUM_SAMPLES, MeasuredSamples, SampledVideos, measure_samples
from tasks.evaluation.metrics import reported_metrics, too_few_videos
from tasks.evaluation.networks import Networks, find_networks
from tasks.evaluation.protocols import Protocol, find_protocol
from tasks.evaluation.reference import Reference, ReferenceRequest, find_reference, measure_reference
from tasks.evaluation.report import Evaluation, EvaluationReport, ReferenceReport, SampleFile, SlidingFvd
from tasks.evaluation.settings import EvaluationSettings
from tasks.evaluation.setup import EvaluationSetup, ProtocolSetup, value_digest
from tasks.evaluation.ucf101 import prompts_by_distribution, train_class_counts
from tasks.evaluation.workers import MeasuringPool
from tasks.generation.settings import SamplingSettings
from tasks.progress import OnProgress


def evaluate_model(
    model_dir: Path,
    reference_dir: Path,
    clip_model: str,
    settings: EvaluationSettings,
    sampling: SamplingSettings,
    pool: MeasuringPool,
    trained_on: Set[str] = frozenset(),
    on_progress: OnProgress | None = None,
) -> Evaluation:
    """Samples, measures and compares; what earlier runs have measured is not measured again.

    `clip_model` is an open_clip folder or name; `trained_on` are the digests of the files that the model has seen.
    Where the I3D weights cannot be had there is no fvd, and `unavailable` says why. Raises RequestError when the
    settings do not fit the model or the reference folder, or the model has seen a file of that.
    """
    started_s = time.monotonic()
    protocol = find_protocol(settings.protocol)
    # Seams are measured where clips meet, so every frame has to be there.
    sampling = sampling.model_copy(update={"seam": "keep"})
    request = find_reference(reference_dir, protocol, settings, sampling.fps)
    check_unseen(request.digests_by_name(), trained_on, reference_dir)
    networks, unavailable = find_networks(clip_model, settings.c3d_weights)
    reading = Reading(
        protocol.num_frames, protocol.frame_repeats, sampling.num_frames, sampling.prompt_frames
    )
    black_white = pool.check_i3d(networks)
    reference = measure_reference(request, reading, networks, pool, on_progress)
    reference_s = time.monotonic() - started_s
    prompts = _prompts(protocol, settings, reference_dir, reference)
    measured = _measure_model(model_dir, prompts, settings, sampling, reading, networks, pool, on_progress)
    metrics = reported_metrics(measured.all, reference.features, protocol, black_white)
    report = EvaluationReport(
        protocol=protocol.name,
        about=protocol.about,
        n=settings.num_videos,
        seed=settings.seed,
        fps=sampling.fps,
        setup=_setup(request, reference, prompts, sampling, networks),
        metrics=metrics,
        fvd_over_time=SlidingFvd.of(measured.long, reference.features, protocol, reading),
        reference=ReferenceReport.of(reference_dir, reference, protocol),
        unavailable=unavailable | too_few_videos(metrics, networks.i3d is not None),
        cut_prompts=_cut(prompts, model_dir, clip_model),
        samples=_samples(prompts, settings, measured, reference),
        seconds={
            "reference": round(reference_s, 2),
            "generated": round(time.monotonic() - started_s - reference_s, 2),
        },
    )
    return Evaluation(report, measured.all, reference.features)


@dataclass(frozen=True)
class _Measured:
    """The rows of all videos in the prompts' order; the long ones come first and have windows of their own too."""

    all: VideoFeatures
    long: VideoFeatures | None
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
    sets: list[MeasuredSamples] = []
    files: dict[int, Path] = {}
    for rows, length in ((range(split), long), (range(split, len(prompts)), clips)):
        if not rows:
            continue
        seeds = [(settings.seed + index) % 2**32 for index in rows]
        videos = SampledVideos(model_dir, [prompts[i] for i in rows], seeds, length, sampling)
        size = (settings.width, settings.height)
        sets.append(measure_samples(videos, reading, networks, pool, size, on_progress))
        files |= {rows[index]: file for index, file in sets[-1].files.items()}
    joined = VideoFeatures.join([part.features for part in sets])
    return _Measured(joined, sets[0].features if split else None, files)


def _cut(prompts: list[str], model_dir: Path, clip_model: str) -> dict[str, Any]:
    """Counts the prompts that the model, and those that CLIP, reads in part."""
    return count_cut(model_dir, clip_model, {CONDITIONING: prompts, SCORING: prompts})


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
) -> EvaluationSetup:
    settings = request.settings
    return EvaluationSetup(
        protocol=ProtocolSetup.of(
            request.protocol, sampling.fps, settings.num_videos, len(reference.prompts)
        ),
        seed=settings.seed,
        width=settings.width,
        height=settings.height,
        long_videos=settings.long_videos,
        long_clips=settings.long_clips,
        reference=reference.digest,
        prompts_digest=value_digest(prompts),
        networks=networks.digest(),
        clip_frames=sampling.num_frames,
    )


def _samples(
    prompts: list[str], settings: EvaluationSettings, measured: _Measured, reference: Reference
) -> list[SampleFile]:
    paired = prompts == reference.prompts
    return [
        SampleFile(
            prompts[index],
            (settings.seed + index) % 2**32,
            str(file),
            reference.files[index] if paired else None,
        )
        for index, file in sorted(measured.files.items())[:NUM_SAMPLES]
    ]
