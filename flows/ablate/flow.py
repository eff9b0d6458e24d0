"""The paper's experiments on one model: variants of sampling, measured alike, as tables and charts.

vidrd ablate --experiment alpha --model models:/vidrd@champion
prefect deployment run ablate/ablate
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from pydantic import BaseModel, ConfigDict, Field

from flows.evaluate.request import EvaluateParams, check_reference, evaluation_settings, reference_folder
from flows.profile import Profile, check_model_profile, load_profile
from flows.runs.failures import tells_why
from flows.runs.progress import stage_progress
from storage.local.home import home
from storage.local.typed_paths import TypedPath, TypedText
from storage.registry.names import CHAMPION, CHAMPION_REF
from tasks.errors import RequestError
from tasks.experiments.experiments import Experiment, experiments
from tasks.experiments.settings import AblationSettings
from tasks.generation.resolve import resolve_sampling
from tasks.output_folders import check_output_folder

if TYPE_CHECKING:
    from storage.registry.model_folder import ResolvedModel
    from tasks.experiments.results import Result
    from tasks.generation.settings import SamplingSettings
    from tasks.progress import OnProgress


class AblateParams(BaseModel):
    """Which experiments, on which model; as they are, the defaults run all that need one model only."""

    model_config = ConfigDict(extra="forbid")

    experiments: list[str] = Field([], description="by name; none: all but cross-dataset")
    model: TypedText | None = Field(
        None, description="none: the champion, or the profile's own model before there is one"
    )
    reference: TypedPath | None = Field(None, description="captioned videos; none: the tiny world's")
    models: list[TypedText] = Field([], description="for cross-dataset: folders or registry references")
    references: list[TypedPath] = Field([], description="for cross-dataset: folders of captioned videos")
    num_videos: int | None = Field(None, ge=4, description="of each variant; none: the profile's")
    num_clips: int = Field(3, ge=3, description="their length")
    lengths: list[int] = Field(
        list(AblationSettings().lengths), min_length=1, description="in clips, for the experiment length"
    )
    out: TypedPath | None = Field(None, description="none: ablation/MODEL under $VIDRD_HOME")
    profile: TypedText = "tiny"


def check(params: AblateParams) -> None:
    """Raises RequestError or StorageError, one line, when the request cannot be carried out."""
    from storage.registry.registry import Registry

    if params.out is not None:
        check_output_folder(params.out, "out")
    wanted = _wanted(params)
    if any(experiment.measured == "models" for experiment in wanted):
        if not params.models or not params.references:
            raise RequestError("models, references: cross-dataset needs at least one of each")
        if len({path.name for path in params.references}) < len(params.references):
            raise RequestError(
                "references: two folders have the same name, by which the table tells them apart"
            )
        for folder in params.references:
            check_reference(_evaluation(params, folder))
        for ref in params.models:
            _sampling(_resolve(ref, params), params)
    if any(experiment.measured != "models" for experiment in wanted):
        check_reference(_evaluation(params, params.reference))
        _sampling(_resolve(params.model, params), params)
    Registry().check_artifacts()


@flow(name="ablate")
@tells_why
def ablate(params: AblateParams = AblateParams()) -> dict:  # noqa: B008 (Prefect shows it as the default)
    """Measures, writes tables, charts and a page, and logs them; returns where they lie."""
    from tasks.cluster import ensure_ray
    from tasks.experiments.results import as_markdown, read_results, write_result
    from tasks.pages.ablation import write_ablation
    from tasks.pages.experiment_charts import write_charts

    check(params)
    started_s = time.monotonic()
    ensure_ray()
    # Looked up once: a promotion may move the alias meanwhile.
    model = _resolve(params.models[0] if _only_models(params) else params.model, params)
    folder = params.out or home() / "ablation" / _name(model)
    _make(folder)
    results: list[Result] = []
    files = [folder / "index.html"]
    with stage_progress("ablate") as on_progress:
        for result in _results(params, model, folder, on_progress):
            results.append(result)
            # After every experiment, so that a long run shows what it has.
            files += [*write_result(result, folder), *write_charts(result, folder).values()]
            write_ablation(read_results(folder, _names(params)), _shown(model), folder / "index.html")
    _log(model, params, files)
    create_markdown_artifact(
        "\n".join(as_markdown(result) for result in results), key="ablate", description="experiments"
    )
    return {
        "model": model.ref,
        "model_version": model.version,
        "experiments": {result.name: str(folder / f"{result.name}.md") for result in results},
        "page": str(folder / "index.html"),
        "seconds": round(time.monotonic() - started_s, 2),
    }


def _results(params: AblateParams, model: ResolvedModel, folder: Path, on_progress: OnProgress) -> Any:
    """Yields the result of each experiment as it is done."""
    from tasks.evaluation.features import Reading
    from tasks.evaluation.leakage import check_unseen, trained_digests
    from tasks.evaluation.networks import find_networks
    from tasks.evaluation.protocols import find_protocol
    from tasks.evaluation.reference import find_reference, measure_reference
    from tasks.evaluation.workers import MeasuringPool
    from tasks.experiments.costs import measure_costs
    from tasks.experiments.run import Bench, run_experiment

    profile = load_profile(params.profile)
    wanted = _wanted(params)
    for experiment in wanted:
        if experiment.measured == "models":
            yield _cross_dataset(experiment, params, profile, on_progress)
    alone = [experiment for experiment in wanted if experiment.measured != "models"]
    if not alone:
        return
    asked = _evaluation(params, params.reference)
    evaluation = evaluation_settings(asked, profile)
    sampling = _sampling(model, params)
    protocol = find_protocol(evaluation.protocol)
    networks, _ = find_networks(profile.clip)
    reference_dir = reference_folder(asked, profile)
    request = find_reference(reference_dir, protocol, evaluation, sampling.fps)
    check_unseen(request.digests_by_name(), trained_digests(model.tags)[0], reference_dir)
    reading = Reading(
        protocol.num_frames, protocol.frame_repeats, sampling.num_frames, sampling.prompt_frames
    )
    with MeasuringPool(networks, evaluation.num_videos) as pool:
        reference = measure_reference(request, reading, networks, pool, on_progress)
    settings = _ablation(params, profile)
    bench = Bench(model.folder, sampling, settings, evaluation, protocol, reference, networks, folder)
    for experiment in alone:
        # A pool for each: costs are measured while none holds the processors.
        costs = measure_costs(experiment, bench, on_progress) if experiment.measured == "length" else []
        with MeasuringPool(networks, settings.num_videos) as pool:
            result = run_experiment(experiment, bench, pool, costs, on_progress)
        yield result


def _cross_dataset(
    experiment: Experiment, params: AblateParams, profile: Profile, on_progress: OnProgress
) -> Result:
    from tasks.evaluation.leakage import trained_digests
    from tasks.experiments.cross_dataset import Contestant, cross_dataset

    models = [_resolve(ref, params) for ref in params.models]
    return cross_dataset(
        experiment,
        [
            Contestant(
                _label(model),
                model.folder,
                _sampling(model, params),
                trained_digests(model.tags)[0],
            )
            for model in models
        ],
        {folder.name: folder for folder in params.references},
        profile.clip,
        evaluation_settings(_evaluation(params, params.references[0]), profile),
        on_progress,
    )


def _log(model: ResolvedModel, params: AblateParams, files: Sequence[Path]) -> None:
    """One MLflow run with the tables, the charts and the page."""
    from storage.registry.registry import Registry

    tags = {"model": model.ref, "model_version": str(model.version or ""), "profile": params.profile}
    with Registry().start_run("ablate", tags) as run:
        run.log_params({"request": params.model_dump(mode="json", exclude={"out"})})
        for path in files:
            run.log_bytes(path.name, path.read_bytes())


def _wanted(params: AblateParams) -> list[Experiment]:
    known = experiments(
        load_profile(params.profile).sampling, _ablation(params, load_profile(params.profile))
    )
    for name in params.experiments:
        if name not in known:
            raise RequestError(f"experiments: {name!r} is unknown; choose of {', '.join(known)}")
    names = params.experiments or [name for name in known if known[name].measured != "models"]
    return [known[name] for name in dict.fromkeys(names)]


def _names(params: AblateParams) -> list[str]:
    profile = load_profile(params.profile)
    return list(experiments(profile.sampling, _ablation(params, profile)))


def _ablation(params: AblateParams, profile: Profile) -> AblationSettings:
    if any(length < 1 for length in params.lengths):
        raise RequestError(f"lengths: a video has at least one clip, got {min(params.lengths)}")
    return AblationSettings(
        num_videos=params.num_videos or profile.evaluation.num_videos,
        num_clips=params.num_clips,
        lengths=tuple(sorted(set(params.lengths))),
    )


def _evaluation(params: AblateParams, reference: Path | None) -> EvaluateParams:
    """The evaluation whose protocol and real clips the variants are measured by."""
    return EvaluateParams(reference=reference, num_videos=params.num_videos, profile=params.profile)


def _resolve(ref: str | None, params: AblateParams) -> ResolvedModel:
    from storage.registry.registry import Registry, resolve_model

    profile = load_profile(params.profile)
    if ref is None:
        ref = CHAMPION_REF if Registry().alias_version(CHAMPION) is not None else profile.model
    model = resolve_model(ref)
    check_model_profile(model, profile)
    return model


def _sampling(model: ResolvedModel, params: AblateParams) -> SamplingSettings:
    """What the variants change: as the model was saved, else the profile's."""
    return resolve_sampling(None, model.folder, load_profile(params.profile).sampling).settings


def _only_models(params: AblateParams) -> bool:
    return all(experiment.measured == "models" for experiment in _wanted(params))


def _name(model: ResolvedModel) -> str:
    """The version of a registered model, else a digest of the folder's files."""
    from tasks.model_files import folder_digest

    if model.version is not None:
        return f"version-{model.version}"
    return folder_digest(model.folder)[:12]


def _label(model: ResolvedModel) -> str:
    """A name that fits beside a bar: a folder's last two."""
    return model.ref if model.version is not None else "/".join(model.folder.parts[-2:])


def _shown(model: ResolvedModel) -> str:
    """The reference that was given, and the version it meant: an alias moves."""
    return model.ref if model.version is None else f"{model.ref} (version {model.version})"


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"out: {folder} cannot be made: {error.strerror}") from error
