"""What an evaluation is asked for, and all that is looked up for it before anything long starts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from flows.model import find_model, model_sampling, resolve
from flows.profile import Profile, check_model_profile
from flows.profile_choice import ProfileParams, choose_profile
from storage.local.typed_fields import TypedPath, TypedText
from storage.registry.model_folder import ResolvedModel
from storage.registry.names import CANDIDATE, CANDIDATE_REF
from tasks.errors import RequestError
from tasks.evaluation.protocols import find_protocol
from tasks.evaluation.settings import EvaluationSettings
from tasks.generation.resolve import ResolvedSampling
from tasks.tiny.world.place import world_folder

if TYPE_CHECKING:
    from tasks.evaluation.video_folder import VideoFolder

_OF_MODELS = ("model", "fast", "beside_champion", "then_promote")


class EvaluateParams(ProfileParams):
    """What to evaluate; as they are, the defaults score the newest candidate on the tiny world."""

    model: TypedText | None = Field(
        None, description=f"a folder or a registry reference; none: {CANDIDATE_REF}"
    )
    videos: TypedPath | None = Field(
        None, description="score the finished videos of this folder instead of a model"
    )
    reference: TypedPath | None = Field(
        None,
        description="a folder of captioned videos or UCF-101's; none: the tiny world's, for the profile tiny",
    )
    protocol: str | None = Field(
        None, description="tiny, quick, fvd2048-16f or vidrd-paper; none: the profile's"
    )
    num_videos: int | None = Field(
        None, ge=2, description="none: the profile's, or what another protocol asks for"
    )
    seed: int | None = Field(None, ge=0, lt=2**32, description="none: the profile's")
    c3d_weights: TypedPath | None = Field(
        None, description="a C3D checkpoint of UCF-101, for the inception score"
    )
    fast: bool = Field(False, description="videos are sampled sooner, as the profile's section [fast] says")
    beside_champion: bool = Field(
        False, description="evaluate the champion alike, on the same prompts and seeds"
    )
    then_promote: bool = Field(False, description="let the gate decide, beside the champion, and act on it")


@dataclass(frozen=True)
class EvaluateRequest:
    """A model to be evaluated against the videos of `reference`, sampled as it was saved, else as the profile says.

    The model was looked up once: a retraining may move the alias while this one is still being evaluated.
    """

    params: EvaluateParams
    profile: Profile
    settings: EvaluationSettings
    reference: Path
    model: ResolvedModel
    sampling: ResolvedSampling

    @property
    def asked_for(self) -> str:
        """The model as it was named, which may be an alias."""
        return self.params.model or CANDIDATE_REF

    def of_model(self, ref: str) -> EvaluateRequest:
        """Returns the same evaluation of another model."""
        model = resolve(ref)
        check_model_profile(model, self.profile)
        sampling = model_sampling(model, self.profile, self.params, is_fast=self.params.fast)
        return replace(self, model=model, sampling=sampling)


@dataclass(frozen=True)
class ScoreVideosRequest:
    """Finished videos to be scored against the videos of `reference`."""

    params: EvaluateParams
    profile: Profile
    settings: EvaluationSettings
    reference: Path
    videos: VideoFolder


def read_request(params: EvaluateParams) -> EvaluateRequest | ScoreVideosRequest:
    """Reads the request; RequestError or StorageError, one line, when it cannot be carried out."""
    request = (
        _read_model_request(params)
        if params.videos is None
        else _read_videos_request(params, params.videos, choose_profile(params, None))
    )
    from storage.registry.registry import Registry

    Registry().check_artifacts()
    return request


def nothing_to_evaluate(params: EvaluateParams) -> str | None:
    """Returns why a run by schedule has nothing to do: there is no candidate yet. By hand that is an error."""
    if not params.then_promote or params.videos is not None or params.model not in (None, CANDIDATE_REF):
        return None
    from storage.registry.registry import Registry

    if Registry().alias_version(CANDIDATE) is None:
        return "nothing to evaluate: there is no candidate yet; retrain makes one"
    return None


def read_reference(params: EvaluateParams, profile: Profile) -> tuple[Path, EvaluationSettings]:
    """Returns the reference folder and the settings of an evaluation, whichever model it will be of.

    RequestError, one line, when no model could be evaluated so: a protocol or reference that is none.
    """
    settings = _evaluation_settings(params, profile)
    reference = _reference_folder(params, profile)
    _check_sources(reference, settings)
    return reference, settings


def _read_model_request(params: EvaluateParams) -> EvaluateRequest:
    if params.profile is not None:
        _evaluation_settings(params, choose_profile(params, None))  # refused before MLflow is asked
    model, profile = find_model(params.model or CANDIDATE_REF, params)
    if params.then_promote and model.version is None:
        raise RequestError(f"then_promote: {model.ref} is a folder; only registered versions can be promoted")
    reference, settings = read_reference(params, profile)
    sampling = model_sampling(model, profile, params, is_fast=params.fast)
    return EvaluateRequest(params, profile, settings, reference, model, sampling)


def _read_videos_request(params: EvaluateParams, folder: Path, profile: Profile) -> ScoreVideosRequest:
    settings = _evaluation_settings(params, profile)
    for name in _OF_MODELS:
        if getattr(params, name):
            raise RequestError(f"videos: finished videos are scored, no model is evaluated: leave out {name}")
    from tasks.evaluation.video_folder import find_videos

    exact_number = params.num_videos is not None
    videos = find_videos(folder, find_protocol(settings.protocol), settings, exact_number)
    reference = _reference_folder(params, profile)
    _check_sources(reference, videos.adapt(settings))
    return ScoreVideosRequest(params, profile, settings, reference, videos)


def _evaluation_settings(params: EvaluateParams, profile: Profile) -> EvaluationSettings:
    """Returns the profile's settings with what the request changes; the long videos are never more than all."""
    asked = params.model_dump(include={"protocol", "num_videos", "seed", "c3d_weights"}, exclude_none=True)
    values = profile.evaluation.model_dump() | asked
    protocol = find_protocol(values["protocol"])
    if params.num_videos is None and protocol.name != profile.evaluation.protocol:
        values["num_videos"] = protocol.default_num_videos
    values["long_videos"] = min(values["long_videos"], values["num_videos"])
    settings = EvaluationSettings.model_validate(values)
    if settings.c3d_weights is not None and not settings.c3d_weights.is_file():
        raise RequestError(f"c3d_weights: {settings.c3d_weights} is no file")
    return settings


def _check_sources(reference: Path, settings: EvaluationSettings) -> None:
    from tasks.evaluation.reference_sources import find_sources

    find_sources(reference, find_protocol(settings.protocol), settings)


def _reference_folder(params: EvaluateParams, profile: Profile) -> Path:
    """Returns the reference folder; the tiny world is written where it is asked for and not there yet."""
    if params.reference is not None:
        return params.reference
    if not profile.is_embedded:
        raise RequestError(
            f"reference: missing; the profile {profile.name} has no reference videos of its own"
        )
    from tasks.tiny.world.corpora import shared_world

    world = world_folder()
    return (world if world.is_dir() else shared_world().parent) / "reference"
