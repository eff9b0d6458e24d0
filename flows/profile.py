"""Profiles: everything that changes between the embedded model and the real one, in one file each.

`load_profile("tiny")` reads infra/profiles/tiny/profile.toml; the path of a file works as well, the name of a file that
was given once, and a file that says `extends = "tiny"` and only what differs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, PrivateAttr, ValidationError

from flows.settings.keys import flattened
from flows.settings.layers import DEFAULT, SET, Layers, read_layers, set_values
from flows.settings.places import PROFILES_DIR, find_profile, profile_names
from storage.local.addresses import without_secrets
from storage.local.typed_fields import TypedText
from tasks.captions.settings import AestheticSettings, CaptionerSettings
from tasks.clips.limits import LimitSettings
from tasks.clips.settings import ClipSettings
from tasks.errors import RequestError
from tasks.evaluation.settings import EvaluationSettings
from tasks.filters.settings import FilterSettings, NuditySettings
from tasks.generation.settings import FastSettings, SamplingSettings
from tasks.ingest.recipe import Recipe
from tasks.ingest.settings import BuildSettings
from tasks.training.settings import DecoderSettings, TemporalSettings

if TYPE_CHECKING:
    from storage.registry.model_folder import ResolvedModel

__all__ = ["PROFILES_DIR", "Profile", "load_profile", "profile_names"]

EMBEDDED = "tiny"
NOTED = "noted"
"""Where a value comes from whose file is gone: from what the model or dataset noted of its profile."""


class Profile(BaseModel):
    """A base model, a CLIP model and the settings of every stage.

    `model` is an absolute folder or a hub name; `clip` a folder or an open_clip name. Paths in a file are relative to
    the file. `model_licence` goes into the cards of what is trained from it; `made_for` is what its models know, where
    that is not footage of any kind.
    """

    model_config = ConfigDict(extra="forbid")

    name: str
    model: TypedText
    model_licence: str = "unknown"
    made_for: str | None = None
    clip: TypedText
    clips: ClipSettings
    filter: FilterSettings
    captioner: CaptionerSettings = CaptionerSettings()
    aesthetic: AestheticSettings = AestheticSettings()
    build: BuildSettings = BuildSettings()
    nudity: NuditySettings = NuditySettings()
    limits: LimitSettings = LimitSettings()
    temporal: TemporalSettings
    decoder: DecoderSettings
    sampling: SamplingSettings
    fast: FastSettings = FastSettings()
    evaluation: EvaluationSettings
    _source: str | None = PrivateAttr(None)
    _layers: Layers = PrivateAttr(default_factory=Layers)
    _changes: dict[str, Any] = PrivateAttr(default_factory=dict)

    @property
    def source(self) -> str:
        """What `load_profile` reads this profile from, wherever one stands: a shipped name, or a file's full path."""
        return self._source or self.name

    @property
    def changes(self) -> dict[str, Any]:
        """What a command or deployment has set over the file, by `section.key`."""
        return dict(self._changes)

    @property
    def is_embedded(self) -> bool:
        """Whether it is the embedded profile or extends it: its media are then the generated world's by default."""
        return self.name == EMBEDDED or self._layers.shipped == EMBEDDED

    def origin(self, key: str) -> str:
        """Tells where a value comes from: a shipped profile's name, a file's path, `--set` or `default`."""
        return self._layers.origin_of(key)

    def content(self) -> dict[str, Any]:
        """Gives all that is not left to the defaults, as plain JSON: the profile can be made of it again."""
        content: dict[str, Any] = _plain(self.model_dump(mode="json", exclude_unset=True))
        return content

    def recipe(self) -> Recipe:
        """What a build of datasets needs of the profile."""
        return Recipe(
            self.model,
            self.clip,
            self.clips,
            self.filter,
            self.captioner,
            self.aesthetic,
            self.build,
            self.nudity,
            self.limits,
        )


def load_profile(name_or_path: str, changes: Mapping[str, Any] | None = None) -> Profile:
    """Reads a profile by name or by the path of its file, with `changes` by `section.key` laid over it.

    RequestError names the file, or says that it was set, and the key: one that is none with those that are near and
    known, or a value that is wrong.
    """
    found = find_profile(name_or_path)
    return _profile(read_layers(Profile, found), found.source, changes or {})


def split_thresholds(changes: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Gives what is set of `[filter]`, by its names there, and all else; RequestError for a key that is none."""
    prefix, layers = "filter.", Layers()
    set_values(Profile, layers, {key: value for key, value in changes.items() if key.startswith(prefix)})
    thresholds = {key.removeprefix(prefix): value for key, value in layers.values.items()}
    return thresholds, {key: value for key, value in changes.items() if not key.startswith(prefix)}


def profile_of_content(
    content: Mapping[str, Any], changes: Mapping[str, Any], source: str | None = None
) -> Profile:
    """Makes a profile of what `Profile.content` gave, once read from `source`; RequestError as of `load_profile`."""
    layers = Layers()
    layers.put(dict(flattened(dict(content), Profile)), NOTED)
    return _profile(layers, source or str(content.get("name")), changes)


def _profile(layers: Layers, source: str, changes: Mapping[str, Any]) -> Profile:
    set_values(Profile, layers, changes)
    try:
        profile = Profile.model_validate(layers.tables())
    except ValidationError as error:
        raise RequestError(_wrong_value(error, layers, source)) from error
    profile._source, profile._layers, profile._changes = source, layers, dict(changes)
    return profile


def _wrong_value(error: ValidationError, layers: Layers, source: str) -> str:
    """Says whose value is wrong: a file's, or one that was set."""
    problem = error.errors(include_url=False, include_context=False)[0]
    origin = layers.origin_of(".".join(str(part) for part in problem["loc"] if isinstance(part, str)))
    return f"{'set' if origin == SET else source if origin == DEFAULT else origin}: {one_line(error)}"


def _plain(value: Any) -> Any:
    """JSON has no infinity, which is a text that pydantic reads."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return "inf" if isinstance(value, float) and math.isinf(value) else value


def one_line(error: ValidationError) -> str:
    """The first problem of a validation error as `field: reason`, with the number of further ones."""
    problems = error.errors(include_url=False, include_context=False)
    field = ".".join(str(part) for part in problems[0]["loc"]) or "parameters"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    reason = problems[0]["msg"].removeprefix("Value error, ")
    # Of a rule about several values the input is all there are.
    got = "" if isinstance(problems[0]["input"], dict) else f", got {problems[0]['input']!r}"
    return without_secrets(f"{field}: {reason}{got}{more}")


def check_model_profile(model: ResolvedModel, profile: Profile) -> None:
    """RequestError when a registered model was trained in another profile; folders say nothing of theirs."""
    trained_in = model.tags.get("profile", profile.name)
    if trained_in != profile.name:
        raise RequestError(
            f"model: {model.ref} (version {model.version}) is of the profile {trained_in}, not {profile.name}; "
            f"name another model, or leave out --profile"
        )
