"""Which experiments on which model: the parameters, and all that is looked up for them before anything long starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from flows.evaluate.request import EvaluateParams, read_reference
from flows.model import find_champion, find_model, model_sampling, resolve
from flows.profile import Profile, check_model_profile
from flows.profile_choice import ProfileParams, choose_profile
from storage.local.typed_fields import TypedPath, TypedText
from storage.registry.model_folder import ResolvedModel
from tasks.errors import RequestError
from tasks.evaluation.settings import EvaluationSettings
from tasks.experiments.experiments import CROSS_DATASET, Experiment, experiments
from tasks.experiments.settings import AblationSettings
from tasks.generation.settings import SamplingSettings
from tasks.output_folders import check_output_folder


class AblateParams(ProfileParams):
    """Which experiments, on which model; as they are, the defaults run all that need one model only."""

    experiments: list[str] = Field([], description="by name; none: all but steps and cross-dataset")
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


@dataclass(frozen=True)
class SampledModel:
    """A model and how it is sampled, which variants change.

    It was looked up once: a promotion may move the alias meanwhile.
    """

    model: ResolvedModel
    sampling: SamplingSettings

    @property
    def label(self) -> str:
        """A name that fits beside a bar: a folder's last two."""
        model = self.model
        return model.ref if model.version is not None else "/".join(model.folder.parts[-2:])

    @property
    def shown(self) -> str:
        """The reference that was given, and the version it meant: an alias moves."""
        model = self.model
        return model.ref if model.version is None else f"{model.ref} (version {model.version})"


@dataclass(frozen=True)
class VariantsRequest:
    """Experiments that vary how one model is sampled, against the videos of `reference`."""

    experiments: list[Experiment]
    model: SampledModel
    reference: Path
    evaluation: EvaluationSettings


@dataclass(frozen=True)
class MatrixRequest:
    """The experiment that sets models against references (folders by name)."""

    experiment: Experiment
    models: list[SampledModel]
    references: dict[str, Path]
    evaluation: EvaluationSettings


@dataclass(frozen=True)
class AblateRequest:
    """The experiments to carry out; `names` are those of all that there are, in their order."""

    params: AblateParams
    profile: Profile
    settings: AblationSettings
    names: list[str]
    variants: VariantsRequest | None
    matrix: MatrixRequest | None

    @property
    def model(self) -> SampledModel:
        """The model that the results are of: the one that is varied, else the first of the matrix."""
        if self.variants is not None:
            return self.variants.model
        assert self.matrix is not None
        return self.matrix.models[0]


def read_request(params: AblateParams) -> AblateRequest:
    """Reads the request; RequestError or StorageError, one line, when it cannot be carried out."""
    if params.out is not None:
        check_output_folder(params.out, "out")
    _wanted(
        params, experiments(SamplingSettings(), AblationSettings())
    )  # refused before a model is looked for
    model, profile = _model_and_profile(params)
    settings = _settings(params, profile)
    known = experiments(profile.sampling, settings)
    wanted = _wanted(params, known)
    matrix = next((experiment for experiment in wanted if experiment.measured == "models"), None)
    alone = [experiment for experiment in wanted if experiment is not matrix]
    if matrix is not None:
        _check_matrix(params)
    request = AblateRequest(
        params,
        profile,
        settings,
        list(known),
        None if model is None else _read_variants(params, profile, model, alone),
        None if matrix is None else _read_matrix(params, profile, matrix),
    )
    from storage.registry.registry import Registry

    Registry().check_artifacts()
    return request


def _settings(params: AblateParams, profile: Profile) -> AblationSettings:
    if any(length < 1 for length in params.lengths):
        raise RequestError(f"lengths: a video has at least one clip, got {min(params.lengths)}")
    return AblationSettings(
        num_videos=params.num_videos or profile.evaluation.num_videos,
        num_clips=params.num_clips,
        lengths=tuple(sorted(set(params.lengths))),
    )


def _wanted(params: AblateParams, known: dict[str, Experiment]) -> list[Experiment]:
    for name in params.experiments:
        if name not in known:
            raise RequestError(f"experiments: {name!r} is unknown; choose of {', '.join(known)}")
    names = params.experiments or [name for name in known if known[name].measured not in ("models", "speed")]
    return [known[name] for name in dict.fromkeys(names)]


def _check_matrix(params: AblateParams) -> None:
    if not params.models or not params.references:
        raise RequestError("models, references: cross-dataset needs at least one of each")
    if len({path.name for path in params.references}) < len(params.references):
        raise RequestError("references: two folders have the same name, by which the table tells them apart")


def _model_and_profile(params: AblateParams) -> tuple[ResolvedModel | None, Profile]:
    """The model whose sampling is varied, None where all that is asked for is the matrix, and the profile."""
    if {*params.experiments} == {CROSS_DATASET}:
        models = [] if params.profile is not None or not params.models else params.models[:1]
        return None, find_model(models[0], params)[1] if models else choose_profile(params, None)
    return find_champion(params) if params.model is None else find_model(params.model, params)


def _read_variants(
    params: AblateParams, profile: Profile, model: ResolvedModel, alone: list[Experiment]
) -> VariantsRequest:
    reference, evaluation = read_reference(_evaluation(params, params.reference), profile)
    return VariantsRequest(alone, _sampled(params, model, profile), reference, evaluation)


def _read_matrix(params: AblateParams, profile: Profile, experiment: Experiment) -> MatrixRequest:
    read = [read_reference(_evaluation(params, folder), profile) for folder in params.references]
    models = [_sampled(params, resolve(ref), profile) for ref in params.models]
    return MatrixRequest(experiment, models, {folder.name: folder for folder, _ in read}, read[0][1])


def _sampled(params: AblateParams, model: ResolvedModel, profile: Profile) -> SampledModel:
    check_model_profile(model, profile)
    return SampledModel(model, model_sampling(model, profile, params).settings)


def _evaluation(params: AblateParams, reference: Path | None) -> EvaluateParams:
    """Returns the evaluation whose protocol and real clips the variants are measured by."""
    return EvaluateParams(reference=reference, num_videos=params.num_videos)
