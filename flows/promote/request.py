"""What a promotion is asked for, and all that the registry says of it before anything is decided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from flows.model import find_model
from flows.profile import Profile
from flows.profile_choice import ProfileParams, choose_profile
from storage.local.typed_fields import TypedText
from storage.registry.model_folder import ResolvedModel
from storage.registry.names import CANDIDATE_REF, PROMOTION
from tasks.errors import RequestError

if TYPE_CHECKING:
    from flows.evaluate.comparable import ComparedSetups


class PromoteParams(ProfileParams):
    """Which version to promote; as they are, the defaults take the newest candidate."""

    model: TypedText = Field(CANDIDATE_REF, description="a registry reference")
    evaluated_version: int | None = Field(
        None, description="stop when `model` no longer means this version; none: whatever it means now"
    )
    rollback: bool = Field(False, description="make the champion's predecessor champion again")

    @model_validator(mode="after")
    def _rollback_alone(self) -> Self:
        if self.rollback and self.evaluated_version is not None:
            raise ValueError("rollback takes the champion's predecessor, not an evaluated version")
        return self


@dataclass(frozen=True)
class PromoteRequest:
    """A version to be judged beside the champion, if there is one; `setups` are None where it is the champion."""

    params: PromoteParams
    profile: Profile
    version: int
    champion: int | None
    setups: ComparedSetups | None


@dataclass(frozen=True)
class RollbackRequest:
    """The champion, and the version that was champion before it."""

    champion: int
    predecessor: int


def read_request(params: PromoteParams) -> PromoteRequest | RollbackRequest:
    """Reads the request; RequestError or StorageError, one line, when there is nothing to decide."""
    asked = None if params.profile is None else choose_profile(params, None)
    from flows.evaluate.comparable import compared_setups
    from storage.registry.registry import Registry

    registry = Registry()
    if params.rollback:
        champion = registry.champion(None if asked is None else asked.name)
        return _read_rollback(
            champion, registry.uri, {} if champion is None else registry.version_tags(champion)
        )
    model, profile = find_model(params.model, params)
    version = check_version(params, model)
    champion = registry.champion(profile.name)
    setups = None if champion == version else compared_setups(registry, version, champion)
    return PromoteRequest(params, profile, version, champion, setups)


def check_version(params: PromoteParams, model: ResolvedModel) -> int:
    """Returns the version that is meant now; RequestError when it is none, or not the evaluated one."""
    if model.version is None:
        raise RequestError(f"model: {params.model} is a folder; only registered versions can be promoted")
    if params.evaluated_version not in (None, model.version):
        raise RequestError(
            f"model: {params.model} was version {params.evaluated_version} when it was evaluated and is now "
            f"{model.version}; evaluate that one"
        )
    return model.version


def _read_rollback(champion: int | None, uri: str, tags: dict[str, str]) -> RollbackRequest:
    if champion is None:
        raise RequestError(f"rollback: there is no champion at {uri}")
    before = PROMOTION.champion_of(tags)
    if before is None:
        raise RequestError(f"rollback: version {champion} is the first champion; there is none before it")
    return RollbackRequest(champion, before)
