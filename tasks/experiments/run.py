"""Runs experiments variant by variant; a variant that is measured is not sampled again, so a killed run goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tasks.evaluation.features import Reading, VideoFeatures
from tasks.evaluation.measure_samples import SampledVideos, measure_samples
from tasks.evaluation.metrics import protocol_metrics
from tasks.evaluation.networks import Networks
from tasks.evaluation.protocols import Protocol
from tasks.evaluation.reference import Reference
from tasks.evaluation.settings import EvaluationSettings
from tasks.evaluation.workers import MeasuringPool
from tasks.experiments.cost import Cost
from tasks.experiments.diversity import between_clips, between_seeds
from tasks.experiments.experiments import Experiment, Variant
from tasks.experiments.results import Result, Row
from tasks.experiments.settings import AblationSettings
from tasks.experiments.shown_seams import measure_seams
from tasks.experiments.trade_off import failures, recommended
from tasks.generation.settings import SamplingSettings
from tasks.progress import OnProgress
from vidrd_model.metrics.intervals import Estimate, jackknife

ENDING = "_end"
"""Ends the name of a metric of a video's last window: the first one is the same however later clips are made."""

_WINDOWED = ("fvd", "kvd", "text_score", "frame_consistency", "motion")
_LEFT_OUT = ("kvd", "is", "is_i3d", "text_contrast", "pixel_consistency")


@dataclass(frozen=True)
class ExperimentContext:
    """What all variants share: the model, the real clips, the networks and their actors, and the folder of results."""

    model_dir: Path
    base: SamplingSettings
    settings: AblationSettings
    evaluation: EvaluationSettings
    protocol: Protocol
    reference: Reference
    networks: Networks
    folder: Path

    @property
    def reading(self) -> Reading:
        """The places of the profile's own clips, in the videos of every variant: what is compared is alike."""
        return Reading(
            self.protocol.num_frames,
            self.protocol.frame_repeats,
            self.base.num_frames,
            self.base.prompt_frames,
            ends_only=True,
        )

    def videos(self, variant: Variant, count: int, first_seed: int) -> SampledVideos:
        """Returns the variant's videos of the first captions, video i from `first_seed` + i."""
        seeds = [(self.evaluation.seed + first_seed + i) % 2**32 for i in range(count)]
        # Every frame has to be there where seams are looked for; a variant may say otherwise.
        sampling = variant.sampling(self.base.model_copy(update={"seam": "keep"}))
        return SampledVideos(
            self.model_dir, self.reference.prompts[:count], seeds, variant.num_clips, sampling
        )


def run_experiment(
    experiment: Experiment,
    context: ExperimentContext,
    pool: MeasuringPool,
    costs: Sequence[Cost],
    on_progress: OnProgress,
) -> Result:
    """Measures every variant; `on_progress` hears which one of how many.

    `costs` are those of the variants, from `measure_costs`, for an experiment that asks for them.
    """
    rows: list[Row] = []
    for number, variant in enumerate(experiment.variants):
        told = naming(on_progress, experiment, number)
        told(0, None, "")
        if experiment.measured == "seams":
            rows.append(_seam_row(variant, context, pool, told))
        elif experiment.measured == "length":
            rows.append(_length_row(variant, context, pool, costs[number], told))
        else:
            row = _quality_row(variant, context, pool, told)
            if experiment.measured == "speed":
                passes = float(variant.sampling(context.base).unet_passes)
                row = replace(row, metrics={"unet_passes": passes, **row.metrics})
            rows.append(row)
    return _concluded(experiment, rows, context)


def naming(on_progress: OnProgress, experiment: Experiment, number: int) -> OnProgress:
    """Tells of the work on one variant as its number among all, with its own progress as a remark."""
    total, label = len(experiment.variants), experiment.variants[number].label

    def told(done: float, of: int | None, note: str = "") -> None:
        on_progress(
            number, total, f"{experiment.name}: {label}" + (f", {int(done)}/{of} {note}" if of else "")
        )

    return told


def _quality_row(
    variant: Variant, context: ExperimentContext, pool: MeasuringPool, on_progress: OnProgress
) -> Row:
    n = context.settings.num_videos
    features = _measure(context.videos(variant, n, 0), context, pool, on_progress)
    # Other seeds of half the prompts are enough for a mean distance.
    others = _measure(context.videos(variant, n // 2, n), context, pool, on_progress)
    found = _metrics(features, context)
    for name, estimate in (
        ("between_clips", between_clips(features, others)),
        ("between_seeds", between_seeds(features, others)),
    ):
        if estimate is not None:
            found[name] = estimate
    return Row(variant.label, variant.num_clips, n, found)


def _measure(
    videos: SampledVideos, context: ExperimentContext, pool: MeasuringPool, on_progress: OnProgress
) -> VideoFeatures:
    size = (context.evaluation.width, context.evaluation.height)
    return measure_samples(videos, context.reading, context.networks, pool, size, on_progress).features


def _metrics(features: VideoFeatures, context: ExperimentContext) -> dict[str, Estimate | float]:
    last = replace(
        features,
        i3d_nwd=features.i3d_nwd[:, -1:],
        text_score_nw=features.text_score_nw[:, -1:],
        frame_consistency_nw=features.frame_consistency_nw[:, -1:],
        motion_nw=features.motion_nw[:, -1:],
    )
    found: dict[str, Estimate | float] = {}
    for name, metric in protocol_metrics(context.protocol).items():
        estimate = None if name in _LEFT_OUT else metric.estimate(last, context.reference.features)
        if estimate is not None:
            found[name + (ENDING if name in _WINDOWED else "")] = estimate
    return found


def _seam_row(
    variant: Variant, context: ExperimentContext, pool: MeasuringPool, on_progress: OnProgress
) -> Row:
    n = context.settings.num_videos
    columns = measure_seams(context.videos(variant, n, 0), pool, context.folder / "seams", on_progress)
    found: dict[str, Estimate | float] = {"frames": float(columns.pop("frames")[0])}
    for name, values_n in columns.items():
        found[name] = jackknife(lambda rows_n: float(rows_n.mean()), values_n)
    return Row(variant.label, variant.num_clips, n, found)


def _length_row(
    variant: Variant, context: ExperimentContext, pool: MeasuringPool, cost: Cost, on_progress: OnProgress
) -> Row:
    """Returns cost and quality of a length, or why a method does not get so far."""
    if cost.problem is not None:
        return Row(variant.label, variant.num_clips, 0, remark=cost.problem)
    assert cost.seconds_per_frame and cost.first_frames_s and cost.peak_bytes is not None
    found: dict[str, Estimate | float] = {
        "seconds_per_frame": cost.seconds_per_frame,
        "first_frames_s": cost.first_frames_s,
        "peak_mib": cost.peak_bytes / 2**20,
    }
    if variant.num_clips * context.base.num_frames < context.protocol.num_frames:
        return Row(variant.label, variant.num_clips, 1, found, "shorter than the protocol's window")
    n = context.settings.length_videos
    quality = _metrics(_measure(context.videos(variant, n, 0), context, pool, on_progress), context)
    quality.pop(f"fvd{ENDING}", None)  # of so few videos it says nothing
    return Row(variant.label, variant.num_clips, n, found | quality)


def _concluded(experiment: Experiment, rows: Sequence[Row], context: ExperimentContext) -> Result:
    """Returns the rows beside the real clips, with notes on how they were taken."""
    if experiment.measured == "seams":
        notes = [
            "jump, pause: largest and smallest step at a seam over the usual step; repeated: share of frames shown "
            "before; in brackets the 95% jackknife interval over n videos.",
            _sampled_as(context),
        ]
        return Result(experiment.name, experiment.question, rows, None, notes)
    real = Row("real clips", 0, len(context.reference.features), _real_metrics(context))
    notes = [
        f"Protocol {context.protocol.name}: {context.protocol.about}. Figures that end in {ENDING} are of the last "
        f"{context.protocol.num_frames} frames; intervals are 95% jackknife intervals over n videos.",
        _sampled_as(context),
    ]
    if experiment.measured == "length":
        notes.append(
            "Time and memory are of one video in a fresh process on one thread; memory is what sampling added to the "
            "loaded model."
        )
        return Result(experiment.name, experiment.question, rows, real, notes)
    if experiment.measured == "speed":
        notes.append("unet_passes: how often the UNet sees a clip, twice in a step that guides.")
    best = recommended(rows, real, context.evaluation.gate)
    rows = [_remarked(row, real, best, context) for row in rows]
    if best:
        notes.append(
            "Recommended (no failure signature beyond its limit, and no other such variant with as much variety and "
            f"as little cycling): {', '.join(row.label for row in best)}."
        )
    return Result(experiment.name, experiment.question, rows, real, notes)


def _sampled_as(context: ExperimentContext) -> str:
    base = context.base
    return (
        f"Unless a variant says otherwise: {base.num_inference_steps} steps, guidance {base.guidance_scale:g}, "
        f"N = {base.num_frames}, M = {base.prompt_frames}, alpha = {base.alpha:g}, beta = {base.beta:g}; seeds from "
        f"{context.evaluation.seed} on; captions of the real clips {context.reference.digest[:12]}."
    )


def _remarked(row: Row, real: Row, best: Sequence[Row], context: ExperimentContext) -> Row:
    failed = failures(row, real, context.evaluation.gate)
    return replace(
        row, remark=f"fails: {', '.join(failed)}" if failed else "recommended" if row in best else ""
    )


def _real_metrics(context: ExperimentContext) -> dict[str, Estimate | float]:
    found = _metrics(context.reference.features, context)
    return {name: metric for name, metric in found.items() if not name.startswith("fvd")}
