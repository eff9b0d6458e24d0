"""Which profile a request means: the one it names, else that of the model or dataset it is about, else tiny.

A registered model and every build of a dataset note the profile they were made with: its name, where it was read from,
what was set over it, and its content, for the day when the file is gone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from flows.profile import EMBEDDED, Profile, load_profile, profile_of_content
from flows.settings.places import remember_profile
from storage.dataset.builds import finished_builds, last_with
from storage.local.typed_fields import TypedText
from tasks.errors import RequestError

if TYPE_CHECKING:
    from storage.registry.model_folder import ResolvedModel

PROFILE_TAG = "profile.noted"
"""Of a version, beside `profile`, the name: where the profile was read from, what was set over it, its content."""


class ProfileParams(BaseModel):
    """What every flow takes: a profile, and what is set over it."""

    model_config = ConfigDict(extra="forbid")

    profile: TypedText | None = Field(
        None, description="name or file of a profile; none: that of the model or dataset, else tiny"
    )
    set: dict[str, Any] = Field(
        default_factory=dict,
        description='values in the place of the profile\'s, by key, such as {"temporal.lr": 1e-5}',
    )


@dataclass(frozen=True)
class NotedProfile:
    """A profile as a model or a dataset, told by `whose`, has noted it; earlier versions noted less."""

    whose: str
    name: str
    source: str | None = None
    changes: dict[str, Any] = field(default_factory=dict)
    content: dict[str, Any] | None = None

    def load(self, changes: Mapping[str, Any]) -> Profile:
        """Reads the profile as its file is now, with what was set; RequestError where nothing is left of it."""
        try:
            return load_profile(self.source or self.name, {**self.changes, **changes})
        except RequestError as error:
            if self.content is None or _is_there(self.source):
                raise RequestError(
                    f"{error} ({self.whose} was made with it; name a profile with --profile)"
                ) from error
        return profile_of_content(self.content, changes, self.source)


def choose_profile(params: ProfileParams, noted: NotedProfile | None) -> Profile:
    """Gives the profile of a request about something that has noted one, or not.

    RequestError as of `load_profile`. A file that is given has its name for later commands.
    """
    if params.profile is not None:
        profile = load_profile(params.profile, params.set)
        if _is_there(profile.source):
            remember_profile(profile.name, Path(profile.source))
        return profile
    return load_profile(EMBEDDED, params.set) if noted is None else noted.load(params.set)


def profile_of_model(model: ResolvedModel) -> NotedProfile | None:
    """Gives the profile that a registered version was trained in, None for a folder: it holds no path of a machine."""
    name, noted = model.tags.get("profile"), model.tags.get(PROFILE_TAG)
    if name is None or noted is None:
        return None if name is None else NotedProfile(model.ref, name)
    try:
        values = json.loads(noted)
        return NotedProfile(model.ref, name, values["source"], values["set"], values["content"])
    except (ValueError, KeyError, TypeError) as error:
        raise RequestError(
            f"model: {model.ref}: its tag {PROFILE_TAG} is no note of a profile; name one with --profile"
        ) from error


def note_of_profile(profile: Profile) -> str:
    """Gives the tag by which a version notes the profile that it was trained in."""
    return json.dumps({"source": profile.source, "set": profile.changes, "content": profile.content()})


def profile_of_dataset(dataset_dir: Path) -> NotedProfile | None:
    """Gives the profile that a dataset was last built with, None where no build noted one."""
    build = last_with(finished_builds(dataset_dir), "profile")
    return None if build is None else profile_of_build(dataset_dir, build.summary)


def profile_of_build(dataset_dir: Path, summary: Mapping[str, Any]) -> NotedProfile:
    """Gives the profile that the summary of a build notes."""
    changes, content = summary.get("profile_set") or {}, summary.get("profile_content")
    whose = f"the dataset {dataset_dir}"
    return NotedProfile(whose, summary["profile"], summary.get("profile_source"), changes, content)


def _is_there(source: str | None) -> bool:
    return source is not None and Path(source).is_absolute() and Path(source).is_file()
