"""Scores finished videos, whoever made them, by the protocols that models are evaluated by."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from tasks.captions.cut_captions import SCORING, count_cut
from tasks.evaluation.features import Reading
from tasks.evaluation.measure_files import measure_files, videos_digest
from tasks.evaluation.measure_samples import NUM_SAMPLES
from tasks.evaluation.metrics import reported_metrics, too_few_videos
from tasks.evaluation.networks import Networks, find_networks
from tasks.evaluation.protocols import find_protocol
from tasks.evaluation.reference import Reference, ReferenceRequest, find_reference, measure_reference
from tasks.evaluation.report import (
    Evaluation,
    EvaluationReport,
    FinishedVideos,
    ReferenceReport,
    SampleFile,
    SlidingFvd,
)
from tasks.evaluation.settings import EvaluationSettings
from tasks.evaluation.setup import EvaluationSetup, ProtocolSetup, value_digest
from tasks.evaluation.video_folder import VideoFolder
from tasks.evaluation.workers import MeasuringPool
from tasks.generation.settings import SamplingSettings
from tasks.progress import OnProgress

_NO_CAPTIONS = "the folder has no captions (a manifest.tsv, or a .txt beside each video)"
_NO_CLIPS = "where the clips of a finished video meet is not known"


def score_videos(
    videos: VideoFolder,
    reference_dir: Path,
    clip_model: str,
    settings: EvaluationSettings,
    sampling: SamplingSettings,
    pool: MeasuringPool,
    on_progress: OnProgress | None = None,
) -> Evaluation:
    """Measures finished videos and compares them; what is kept is only compared.

    They are read as sampled ones are, every frame at their own rate from the first on; real clips are taken at that
    rate and size. `sampling` tells only how the real clips' own signatures are read: as beside a model. There are no
    metrics of seams and cycling, and `unavailable` says why. Raises RequestError for a reference or videos that do not
    fit.
    """
    started_s = time.monotonic()
    protocol, asked = find_protocol(settings.protocol), settings.num_videos
    settings = videos.adapt(settings)
    request = find_reference(reference_dir, protocol, settings, videos.header.fps)
    networks, unavailable = find_networks(clip_model, settings.c3d_weights)
    unavailable |= dict.fromkeys(("cycling", "seam_boundary", "seam_guided_to_free"), _NO_CLIPS)
    if videos.captions is None:
        unavailable["text_score"] = _NO_CAPTIONS
    digests = videos.digests()
    digest = videos_digest(videos, digests)
    frames = protocol.num_frames, protocol.frame_repeats
    black_white = pool.check_i3d(networks)
    beside_models = Reading(*frames, sampling.num_frames, sampling.prompt_frames)
    reference = measure_reference(request, beside_models, networks, pool, on_progress)
    reference_s = time.monotonic() - started_s
    # As one clip each: without seams to measure, and frozen over the whole video.
    reading = Reading(*frames, videos.header.num_frames, 0)
    features = measure_files(videos, digest, reading, networks, pool, on_progress)
    longer = features if len(reading.starts(videos.header.num_frames)) > 1 else None
    metrics = reported_metrics(features, reference.features, protocol, black_white)
    report = EvaluationReport(
        protocol=protocol.name,
        about=protocol.about,
        n=settings.num_videos,
        seed=settings.seed,
        fps=videos.header.fps,
        videos=FinishedVideos(
            folder=str(videos.folder),
            digest=digest,
            found=videos.found,
            asked=asked,
            frames=videos.header.num_frames,
            captions=videos.captions is not None,
        ),
        setup=_setup(videos, request, reference, networks),
        metrics=metrics,
        fvd_over_time=SlidingFvd.of(longer, reference.features, protocol, reading),
        reference=ReferenceReport.of(reference_dir, reference, protocol),
        lineage=_lineage(digests, request),
        unavailable=unavailable | too_few_videos(metrics, networks.i3d is not None),
        cut_prompts={} if videos.captions is None else _cut(videos.captions, clip_model),
        samples=_samples(videos),
        seconds={
            "reference": round(reference_s, 2),
            "videos": round(time.monotonic() - started_s - reference_s, 2),
        },
    )
    return Evaluation(report, features, reference.features)


def _setup(
    videos: VideoFolder, request: ReferenceRequest, reference: Reference, networks: Networks
) -> EvaluationSetup:
    settings = request.settings
    protocol = ProtocolSetup.of(
        request.protocol, videos.header.fps, settings.num_videos, len(reference.prompts)
    )
    # Nobody has seen to it that the videos were made of the protocol's prompts.
    prompts = "unknown" if videos.captions is None else "captions of the videos"
    return EvaluationSetup(
        protocol=replace(protocol, prompts=prompts),
        seed=settings.seed,
        width=settings.width,
        height=settings.height,
        frames_per_video=videos.header.num_frames,
        reference=reference.digest,
        prompts_digest=value_digest(videos.captions),
        networks=networks.digest(),
    )


def _cut(captions: list[str], clip_model: str) -> dict[str, Any]:
    """Counts the captions that CLIP reads in part; what made the videos may have read all of them."""
    return count_cut("", clip_model, {SCORING: captions})


def _lineage(digests: list[str], request: ReferenceRequest) -> str:
    shared = len(set(digests) & set(request.digests))
    beside = f"{shared} of them are files of the reference" if shared else "none is a file of the reference"
    return f"what made the videos, and from which files it learnt, is not known; {beside}"


def _samples(videos: VideoFolder) -> list[SampleFile]:
    return [
        SampleFile(
            None if videos.captions is None else videos.captions[index],
            None,
            str(videos.folder / source.uri),
            None,
        )
        for index, source in enumerate(videos.sources[:NUM_SAMPLES])
    ]
