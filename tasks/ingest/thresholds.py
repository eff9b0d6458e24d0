"""Whose thresholds hold for a dataset: those that are asked for, else those set on it before, else the profile's.

What was set is noted in the summary of the build that applied it (`storage.dataset.builds.SETTINGS`), so it is in
force from the moment that build is finished, and a build that is cut off or refused sets nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from storage.dataset.builds import Build, last_with
from tasks.errors import RequestError
from tasks.filters.settings import FilterSettings

SET_HERE = "set on this dataset"


@dataclass(frozen=True)
class Asked:
    """What a command asks for: values by the names of `FilterSettings`, and whether to forget those set before."""

    values: Mapping[str, Any] = field(default_factory=dict)
    reset: bool = False


@dataclass(frozen=True)
class Thresholds:
    """The thresholds in force, and those of them that were set on the dataset, now or before."""

    settings: FilterSettings
    set_here: dict[str, Any]


def thresholds_in_force(
    builds: Sequence[Build], usual: FilterSettings, profile: str | None, asked: Asked
) -> Thresholds:
    """Gives the thresholds for the next build of a dataset with these builds, where `usual` are those of the profile.

    To be asked while the dataset's lock is held: another command may set some until then. RequestError names a value
    that is none.
    """
    before = {} if asked.reset else _set_before(builds, usual, profile)
    changed = before | dict(asked.values)
    try:
        settings = FilterSettings.model_validate(usual.model_dump() | changed)
    except ValidationError as error:
        raise RequestError(f"filter: {_first_problem(error)}{_hint(before)}") from error
    return Thresholds(settings, {name: getattr(settings, name) for name in changed})


def describe_thresholds(builds: Sequence[Build], usual: FilterSettings | None) -> dict[str, dict[str, Any]]:
    """For each filter that was on in the last of these builds its `value`, and where it was `from`.

    `usual` are the thresholds of the profile it was built with, None where that is not known.
    """
    build = _last_with_filter(builds)
    if build is None:
        return {}
    profile = build.summary.get("profile")
    if usual is None and "thresholds_set" not in build.summary:
        set_here, others = {}, f"noted by {build.tag}"  # an early build: whose they were cannot be told
    else:
        set_here = _set_before(builds, usual or FilterSettings(), profile)
        others = f"profile {profile}" if profile else "the caller's settings"
    return {
        name: {"value": value, "from": SET_HERE if name in set_here else others}
        for name, value in build.summary["filter"].items()
        if value is not None or name in set_here
    }


def checked_thresholds(values: Mapping[str, Any]) -> dict[str, Any]:
    """Gives thresholds by name as `FilterSettings` reads them; RequestError names one that is none."""
    try:
        settings = FilterSettings.model_validate(dict(values))
    except ValidationError as error:
        raise RequestError(f"filter: {_first_problem(error)}") from error
    return {name: getattr(settings, name) for name in values}


def _set_before(builds: Sequence[Build], usual: FilterSettings, profile: str | None) -> dict[str, Any]:
    build = _last_with_filter(builds)
    if build is None:
        return {}
    noted = build.summary.get("thresholds_set")
    if noted is not None:
        return dict(noted)
    # Builds once noted only what they applied: what is not as the profile has it somebody had asked for.
    if build.summary.get("profile") != profile:
        return {}
    before = usual.model_dump()
    return {
        name: value
        for name, value in build.summary["filter"].items()
        if name in before and value != before[name]
    }


def _last_with_filter(builds: Sequence[Build]) -> Build | None:
    return last_with([build for build in builds if isinstance(build.summary.get("filter"), dict)], "filter")


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False, include_context=False)[0]
    field_name = ".".join(map(str, problem["loc"]))
    if not field_name:  # it is about several of them, and the input is all there are
        return problem["msg"].removeprefix("Value error, ")
    return f"{field_name}: {problem['msg']}, got {problem['input']!r}"


def _hint(before: Mapping[str, Any]) -> str:
    if not before:
        return ""
    values = ", ".join(f"{name} = {value}" for name, value in before.items())
    return f" (set on this dataset before: {values}; refilter --reset forgets them)"
