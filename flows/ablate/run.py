"""Carries out experiments one by one, and writes their tables, charts and page after each."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from flows.ablate.request import AblateRequest, MatrixRequest, VariantsRequest
from flows.runs.artifacts import show_markdown
from flows.runs.progress import stage_progress
from storage.local.home import home
from storage.registry.model_folder import ResolvedModel
from storage.registry.registry import Registry
from tasks.errors import RequestError
from tasks.evaluation.features import Reading
from tasks.evaluation.leakage import check_unseen, trained_digests
from tasks.evaluation.networks import find_networks
from tasks.evaluation.protocols import find_protocol
from tasks.evaluation.reference import find_reference, measure_reference
from tasks.evaluation.workers import MeasuringPool
from tasks.experiments.costs import measure_costs
from tasks.experiments.cross_dataset import Contestant, cross_dataset
from tasks.experiments.results import Result, as_markdown, read_results, write_result
from tasks.experiments.run import ExperimentContext, run_experiment
from tasks.model_files import folder_digest
from tasks.pages.ablation import write_ablation
from tasks.pages.experiment_charts import write_charts
from tasks.progress import OnProgress


def run(request: AblateRequest) -> dict[str, Any]:
    """Carries them out; returns where tables and page lie, which are logged as an MLflow run too, with the charts."""
    started_s = time.monotonic()
    model = request.model.model
    folder = request.params.out or home() / "ablation" / _folder_name(model)
    _make(folder)
    results: list[Result] = []
    files = [folder / "index.html"]
    with stage_progress("ablate") as on_progress:
        for result in _results(request, folder, on_progress):
            results.append(result)
            # After every experiment, so that a long run shows what it has.
            files += [*write_result(result, folder), *write_charts(result, folder).values()]
            write_ablation(read_results(folder, request.names), request.model.shown, folder / "index.html")
    _log(request, files)
    show_markdown(
        "\n".join(as_markdown(result) for result in results), key="ablate", description="experiments"
    )
    return {
        "model": model.ref,
        "model_version": model.version,
        "experiments": {result.name: str(folder / f"{result.name}.md") for result in results},
        "page": str(folder / "index.html"),
        "seconds": round(time.monotonic() - started_s, 2),
    }


def _results(request: AblateRequest, folder: Path, on_progress: OnProgress) -> Iterator[Result]:
    """Yields the result of each experiment as it is done."""
    if request.matrix is not None:
        yield _matrix(request.matrix, request.profile.clip, on_progress)
    if request.variants is not None:
        yield from _variants(request, request.variants, folder, on_progress)


def _variants(
    request: AblateRequest, variants: VariantsRequest, folder: Path, on_progress: OnProgress
) -> Iterator[Result]:
    evaluation, sampling = variants.evaluation, variants.model.sampling
    model, settings = variants.model.model, request.settings
    protocol = find_protocol(evaluation.protocol)
    networks, _ = find_networks(request.profile.clip)
    clips = find_reference(variants.reference, protocol, evaluation, sampling.fps)
    check_unseen(clips.digests_by_name(), trained_digests(model.tags)[0], variants.reference)
    reading = Reading(
        protocol.num_frames, protocol.frame_repeats, sampling.num_frames, sampling.prompt_frames
    )
    with MeasuringPool(evaluation.num_videos) as pool:
        reference = measure_reference(clips, reading, networks, pool, on_progress)
    context = ExperimentContext(
        model.folder, sampling, settings, evaluation, protocol, reference, networks, folder
    )
    for experiment in variants.experiments:
        # A pool for each: costs are measured while none holds the processors.
        costs = measure_costs(experiment, context, on_progress) if experiment.measured == "length" else []
        with MeasuringPool(settings.num_videos) as pool:
            result = run_experiment(experiment, context, pool, costs, on_progress)
        yield result


def _matrix(matrix: MatrixRequest, clip_model: str, on_progress: OnProgress) -> Result:
    contestants = [
        Contestant(one.label, one.model.folder, one.sampling, trained_digests(one.model.tags)[0])
        for one in matrix.models
    ]
    return cross_dataset(
        matrix.experiment, contestants, matrix.references, clip_model, matrix.evaluation, on_progress
    )


def _log(request: AblateRequest, files: Sequence[Path]) -> None:
    """Logs the tables, the charts and the page as one MLflow run."""
    model, params = request.model.model, request.params
    tags = {"model": model.ref, "model_version": str(model.version or ""), "profile": request.profile.name}
    with Registry().start_run("ablate", tags) as run:
        run.log_params({"request": params.model_dump(mode="json", exclude={"out"})})
        for path in files:
            run.log_bytes(path.name, path.read_bytes())


def _folder_name(model: ResolvedModel) -> str:
    """Returns the version of a registered model, else a digest of the folder's files."""
    if model.version is not None:
        return f"version-{model.version}"
    return folder_digest(model.folder)[:12]


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"out: {folder} cannot be made: {error.strerror}") from error
