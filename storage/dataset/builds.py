"""Finished builds: `builds.json` beside the tables says which version of every table belongs to which tag.

The file is JSON and is read without Lance; `storage.dataset.tags` writes it together with the tables' tags.
A purged build keeps its entry, so that its tag is never given away again, but its tables' tags are gone.

What holds for the dataset from a build on (`SETTINGS`) is in that build's summary, so it changes with the index and
only with it: a build that is cut off or refused leaves the settings of the one before in force.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from storage.errors import StorageError
from storage.local.json_files import read_json, write_json

INDEX = "builds.json"
SETTINGS = (
    "corpora",
    "profile",
    "profile_source",
    "profile_set",
    "profile_content",
    "filter",
    "thresholds_set",
    "settled_for",
    "cut_captions",
    "nudity",
)
"""What of a summary holds on: the last build that noted it speaks for the dataset."""


@dataclass(frozen=True)
class Build:
    """One finished build: its tag, the version of every table and its rows, when it ended and what it counted.

    Of a purged build nothing is left to open.
    """

    tag: str
    versions: dict[str, int]
    finished_at: str
    summary: dict[str, Any] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    purged: bool = False


def finished_builds(dataset_dir: Path) -> list[Build]:
    """Reads the dataset's finished builds, oldest first; StorageError when the index cannot be read."""
    return read_index(dataset_dir / INDEX)


def read_index(path: Path) -> list[Build]:
    """Gives the builds of an index file, none when there is no such file; StorageError when it cannot be read."""
    content = read_json(path)
    try:
        return [Build(**entry) for entry in content["builds"]] if content is not None else []
    except (KeyError, TypeError) as error:
        raise StorageError(f"{path}: is not an index of builds: {error}") from error


def builds_until(dataset_dir: Path, tag: str) -> list[Build]:
    """Gives the builds up to the one of this tag, oldest first."""
    builds = finished_builds(dataset_dir)
    return builds[: [build.tag for build in builds].index(tag) + 1]


def last_with(builds: Sequence[Build], name: str) -> Build | None:
    """Finds the last of these builds whose summary has `name`; those of takedowns and compactions have no settings."""
    return next((build for build in reversed(builds) if build.summary.get(name) is not None), None)


def last_noted(dataset_dir: Path, name: str) -> Any:
    """Gives the value of `name` in the last summary of a dataset that has it, None where there is no such one."""
    build = last_with(finished_builds(dataset_dir), name)
    return None if build is None else build.summary[name]


def write_index(dataset_dir: Path, builds: list[Build]) -> None:
    """Puts these builds in the place of the index."""
    write_json(dataset_dir / INDEX, {"builds": [asdict(build) for build in builds]})
