"""Models against references: each model is evaluated on the real videos of each folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from tasks.evaluation.evaluate import evaluate_model
from tasks.evaluation.settings import EvaluationSettings
from tasks.evaluation.workers import MeasuringPool
from tasks.experiments.experiments import Experiment
from tasks.experiments.results import Result, Row
from tasks.generation.settings import SamplingSettings
from tasks.progress import OnProgress
from vidrd_model.metrics.intervals import Estimate

SHOWN = ("fvd", "kvd", "text_score")


@dataclass(frozen=True)
class Contestant:
    """A model of the matrix: its name, its folder, how it is sampled, the digests of the files it was trained on."""

    label: str
    folder: Path
    sampling: SamplingSettings
    trained_on: Set[str] = frozenset()


def cross_dataset(
    experiment: Experiment,
    models: Sequence[Contestant],
    references: Mapping[str, Path],
    clip_model: str,
    evaluation: EvaluationSettings,
    on_progress: OnProgress,
) -> Result:
    """Returns a row for each model, with its metrics on each reference; evaluations that were made are not made again.

    RequestError as of `evaluate_model`, which refuses a reference that the model was trained on.
    """
    rows: list[Row] = []
    total = len(models) * len(references)
    with MeasuringPool(evaluation.num_videos) as pool:
        for model in models:
            found: dict[str, Estimate | float] = {}
            for place, (name, folder) in enumerate(references.items()):
                number = len(rows) * len(references) + place
                on_progress(number, total, f"{experiment.name}: {model.label} on {name}")
                metrics = evaluate_model(
                    model.folder, folder, clip_model, evaluation, model.sampling, pool, model.trained_on
                ).report.metrics
                shown = [metric for metric in SHOWN if metric in metrics]
                found |= {f"{metric} on {name}": metrics[metric].estimate for metric in shown}
            rows.append(Row(model.label, 0, evaluation.num_videos, found))
    notes = [f"Protocol {evaluation.protocol}; intervals are 95% jackknife intervals over n videos."]
    return Result(experiment.name, experiment.question, rows, None, notes)
