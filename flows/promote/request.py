"""What a promotion is asked for, and all that the registry says of it before anything is decided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from flows.profile import Profile, check_model_profile, load_profile
from storage.local.typed_paths import TypedText
from storage.registry.model_folder import ResolvedModel
from storage.registry.names import CANDIDATE_REF, CHAMPION, PROMOTION
from tasks.errors import RequestError

if TYPE_CHECKING:
    from flows.evaluate.comparable import ComparedSetups


class PromoteParams(BaseModel):
    """Which version to promote; as they are, the defaults take the newest candidate."""

    model_config = ConfigDict(extra="forbid")

    model: TypedText = Field(CANDIDATE_REF, description="a registry reference")
    evaluated_version: int | None = Field(
        None, description="stop when `model` no longer means this version; none: whatever it means now"
    )
    rollback: bool = Field(False, description="make the champion's predecessor champion again")
    profile: TypedText = Field("tiny", description="where the gate's settings come from")

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
    profile = load_profile(params.profile)
    from flows.evaluate.comparable import compared_setups
    from storage.registry.registry import Registry

    registry = Registry()
    champion = registry.alias_version(CHAMPION)
    if params.rollback:
        return _read_rollback(
            champion, registry.uri, {} if champion is None else registry.version_tags(champion)
        )
    model, version = resolve_version(params)
    check_model_profile(model, profile)
    setups = None if champion == version else compared_setups(registry, version, champion)
    return PromoteRequest(params, profile, version, champion, setups)


def resolve_version(params: PromoteParams) -> tuple[ResolvedModel, int]:
    """Returns the model that is meant now, and its version; RequestError when it is not the evaluated one."""
    from storage.registry.registry import resolve_model

    model = resolve_model(params.model)
    if model.version is None:
        raise RequestError(f"model: {params.model} is a folder; only registered versions can be promoted")
    if params.evaluated_version not in (None, model.version):
        raise RequestError(
            f"model: {params.model} was version {params.evaluated_version} when it was evaluated and is now "
            f"{model.version}; evaluate that one"
        )
    return model, model.version


def _read_rollback(champion: int | None, uri: str, tags: dict[str, str]) -> RollbackRequest:
    if champion is None:
        raise RequestError(f"rollback: there is no champion at {uri}")
    before = PROMOTION.champion_of(tags)
    if before is None:
        raise RequestError(f"rollback: version {champion} is the first champion; there is none before it")
    return RollbackRequest(champion, before)
