"""What an evaluation is asked for, and whether it can be carried out."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from flows.profile import Profile, load_profile
from storage.local.typed_paths import TypedPath, TypedText
from storage.registry.names import CANDIDATE_REF
from tasks.errors import RequestError
from tasks.evaluation.settings import EvaluationSettings
from tasks.tiny.world.place import world_folder


class EvaluateParams(BaseModel):
    """What to evaluate; as they are, the defaults score the newest candidate on the tiny world."""

    model_config = ConfigDict(extra="forbid")

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
    beside_champion: bool = Field(
        False, description="evaluate the champion alike, on the same prompts and seeds"
    )
    then_promote: bool = Field(False, description="let the gate decide, beside the champion, and act on it")
    profile: TypedText = "tiny"


def model_ref(params: EvaluateParams) -> str:
    """The model that is evaluated."""
    return CANDIDATE_REF if params.model is None else params.model


def check_reference(params: EvaluateParams) -> None:
    """Raises RequestError, one line, when no model could be evaluated so: a protocol or reference that is none."""
    profile = load_profile(params.profile)
    check_settings(reference_folder(params, profile), evaluation_settings(params, profile))


def check_settings(reference: Path, settings: EvaluationSettings) -> None:
    """RequestError, one line, when the reference folder or the C3D weights are not what the settings ask for."""
    from tasks.evaluation.protocols import find_protocol
    from tasks.evaluation.reference import find_sources

    find_sources(reference, find_protocol(settings.protocol), settings)
    if settings.c3d_weights is not None and not settings.c3d_weights.is_file():
        raise RequestError(f"c3d_weights: {settings.c3d_weights} is no file")


def evaluation_settings(params: EvaluateParams, profile: Profile) -> EvaluationSettings:
    """The profile's settings with what the request changes; the long videos are never more than all."""
    from tasks.evaluation.protocols import find_protocol

    asked = params.model_dump(include={"protocol", "num_videos", "seed", "c3d_weights"}, exclude_none=True)
    values = profile.evaluation.model_dump() | asked
    if params.num_videos is None and values["protocol"] != profile.evaluation.protocol:
        values["num_videos"] = find_protocol(values["protocol"]).default_num_videos
    values["long_videos"] = min(values["long_videos"], values["num_videos"])
    return EvaluationSettings.model_validate(values)


def reference_folder(params: EvaluateParams, profile: Profile) -> Path:
    """The reference folder; the tiny world is written where it is asked for and not there yet."""
    from tasks.tiny.world.corpora import shared_world

    if params.reference is not None:
        return params.reference
    if profile.name != "tiny":
        raise RequestError(
            f"reference: missing; the profile {profile.name} has no reference videos of its own"
        )
    world = world_folder()
    if not world.is_dir():
        shared_world()
    return world / "reference"
