"""Profiles: everything that changes between the embedded model and the real one, in one file each.

`load_profile("tiny")` reads infra/profiles/tiny/profile.toml; a path to such a file works as well.
"""

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, PrivateAttr, ValidationError

from storage.dataset.builds import finished_builds, last_with
from storage.local.addresses import without_secrets
from storage.local.typed_paths import TypedText, as_typed, expanded
from tasks.captions.settings import AestheticSettings, CaptionerSettings
from tasks.clips.limits import LimitSettings
from tasks.clips.settings import ClipSettings
from tasks.errors import RequestError
from tasks.evaluation.settings import EvaluationSettings
from tasks.filters.settings import FilterSettings, NuditySettings
from tasks.generation.settings import SamplingSettings
from tasks.ingest.recipe import Recipe
from tasks.ingest.settings import BuildSettings
from tasks.training.settings import DecoderSettings, TemporalSettings

if TYPE_CHECKING:
    from storage.registry.model_folder import ResolvedModel

PROFILES_DIR = Path(__file__).resolve().parents[1] / "infra" / "profiles"


class Profile(BaseModel):
    """A base model, a CLIP model and the settings of every stage.

    `model` is an absolute folder or a hub name; `clip` a folder or an open_clip name. In the file, a model
    that begins with `./` lies beside the file. `model_licence` goes into the cards of what is trained from it;
    `made_for` is what its models know, where that is not footage of any kind.
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
    evaluation: EvaluationSettings
    _source: str | None = PrivateAttr(None)

    @property
    def source(self) -> str:
        """What `load_profile` reads this profile from, wherever one stands: a shipped name, or a file's full path."""
        return self._source or self.name

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


def profile_names() -> list[str]:
    """The profiles that ship with the project."""
    return sorted(path.parent.name for path in PROFILES_DIR.glob("*/profile.toml"))


def load_profile(name_or_path: str) -> Profile:
    """Reads a profile by name or by the path of its file; RequestError names the file and the field."""
    path, source = PROFILES_DIR / name_or_path / "profile.toml", name_or_path
    if not path.is_file():
        path = Path(name_or_path).absolute()
        source = str(path)
    if not path.is_file():
        known = ", ".join(profile_names())
        raise RequestError(f"profile: {name_or_path!r} is neither one of {known} nor a profile file")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"{path}: not a TOML file: {error}") from error
    try:
        _place_beside(path, values)
        profile = Profile.model_validate(values)
    except ValidationError as error:
        raise RequestError(f"{path}: {one_line(error)}") from error
    except ValueError as error:
        raise RequestError(f"{path}: {error}") from error
    profile._source = source
    return profile


def last_profile(dataset_dir: Path) -> Profile | None:
    """The profile that a dataset was last built with, None where no build noted one.

    RequestError where its file is gone or cannot be read any longer: another profile of the same name may hold other
    models, so none is taken in its place.
    """
    build = last_with(finished_builds(dataset_dir), "profile")
    if build is None:
        return None
    try:
        return profile_of(build.summary)
    except RequestError as error:
        raise RequestError(
            f"{error} (the dataset {dataset_dir} was last built with it; name a profile with --profile)"
        ) from error


def profile_of(summary: dict[str, Any]) -> Profile:
    """The profile that a build's summary names; RequestError as for `load_profile`."""
    return load_profile(summary.get("profile_source") or summary["profile"])


def _place_beside(path: Path, values: dict[str, Any]) -> None:
    """Makes models that begin with `./` absolute: they lie beside the profile's file."""
    beside = (("captioner", "model"), ("aesthetic", "head"), ("nudity", "model"))
    for table, key in ((values, "model"), (values, "clip"), *beside):
        table = values.get(table, {}) if isinstance(table, str) else table
        if isinstance(table, dict) and str(table.get(key, "")).startswith("./"):
            table[key] = as_typed((path.parent / expanded(table[key])).resolve())


def one_line(error: ValidationError) -> str:
    """The first problem of a validation error as `field: reason`, with the number of further ones."""
    problems = error.errors(include_url=False, include_context=False)
    field = ".".join(str(part) for part in problems[0]["loc"]) or "parameters"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    reason = problems[0]["msg"].removeprefix("Value error, ")
    return without_secrets(f"{field}: {reason}, got {problems[0]['input']!r}{more}")


def check_model_profile(model: "ResolvedModel", profile: Profile) -> None:
    """RequestError when a registered model was trained in another profile; folders say nothing of theirs."""
    trained_in = model.tags.get("profile", profile.name)
    if trained_in != profile.name:
        raise RequestError(
            f"model: {model.ref} (version {model.version}) is of the profile {trained_in}, not {profile.name}; "
            f"name another model, or --profile {trained_in}"
        )
