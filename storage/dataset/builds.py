"""Finished builds: `builds.json` beside the tables says which version of every table belongs to which tag.

Lance commits and tags one table at a time. The index is written last and atomically, so a tag counts as
soon as it is there, and a crash halfway through tagging leaves nothing to clean up: the next build
takes the same tag again.

A purged build keeps its entry, so that its tag is never given away again, but its tables' tags are gone.

What holds for the dataset from a build on (`SETTINGS`) is in that build's summary, so it changes with the index and
only with it: a build that is cut off or refused leaves the settings of the one before in force.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from storage.dataset.schema import TABLES, TEXTS
from storage.dataset.table_reader import UNREADABLE, first_line, reading
from storage.dataset.tables import open_table, read_table, table_exists, table_path
from storage.errors import StorageError
from storage.local.json_files import read_json, write_json

INDEX = "builds.json"
SETTINGS = ("corpora", "profile", "profile_source", "filter", "thresholds_set", "settled_for", "cut_captions")
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
    """The dataset's finished builds, oldest first; StorageError when the index cannot be read."""
    return read_index(dataset_dir / INDEX)


def read_index(path: Path) -> list[Build]:
    """The builds of an index file, none when there is no such file; StorageError when it cannot be read."""
    content = read_json(path)
    try:
        return [Build(**entry) for entry in content["builds"]] if content is not None else []
    except (KeyError, TypeError) as error:
        raise StorageError(f"{path}: is not an index of builds: {error}") from error


def builds_until(dataset_dir: Path, tag: str) -> list[Build]:
    """The builds up to the one of this tag, oldest first."""
    builds = finished_builds(dataset_dir)
    return builds[: [build.tag for build in builds].index(tag) + 1]


def last_with(builds: Sequence[Build], name: str) -> Build | None:
    """The last of these builds whose summary has `name`; those of takedowns and compactions have no settings."""
    return next((build for build in reversed(builds) if build.summary.get(name) is not None), None)


def last_noted(dataset_dir: Path, name: str) -> Any:
    """The value of `name` in the last summary of a dataset that has it, None where there is no such one."""
    build = last_with(finished_builds(dataset_dir), name)
    return None if build is None else build.summary[name]


def newest_versions(dataset_dir: Path) -> dict[str, int]:
    """The newest version of every table that is there, tagged or not."""
    return {table: open_table(dataset_dir, table).version for table in tables_there(dataset_dir)}


def record_build(dataset_dir: Path, summary: dict[str, Any]) -> Build:
    """Tag the tables as they are now; the last build again, with the settings of this one, when no table changed since.

    `summary` is kept in the index as it is given, so it must be plain JSON.
    """
    builds = finished_builds(dataset_dir)
    versions = newest_versions(dataset_dir)
    if builds and builds[-1].versions == versions:
        settings = {name: summary[name] for name in SETTINGS if name in summary}
        same = replace(builds[-1], summary=builds[-1].summary | settings)
        if same != builds[-1]:
            write_index(dataset_dir, [*builds[:-1], same])
        return same
    tag = f"build-{len(builds) + 1:04d}"
    for table, version in versions.items():
        set_tag(dataset_dir, table, tag, version)  # moved, if a build ended before it wrote the index
    rows = {table: read_table(dataset_dir, table).count_rows() for table in versions}
    build = Build(tag, versions, datetime.now(UTC).isoformat(timespec="seconds"), summary, rows)
    write_index(dataset_dir, [*builds, build])
    return build


def write_index(dataset_dir: Path, builds: list[Build]) -> None:
    """Put these builds in the place of the index."""
    write_json(dataset_dir / INDEX, {"builds": [asdict(build) for build in builds]})


def set_tag(dataset_dir: Path, table: str, tag: str, version: int) -> None:
    """Make a table's tag name this version."""
    tags = open_table(dataset_dir, table).tags
    if tag in versions_and_tags(dataset_dir, table)[1]:
        tags.update(tag, version)
    else:
        tags.create(tag, version)


def versions_and_tags(dataset_dir: Path, table: str) -> tuple[set[int], dict[str, int]]:
    """The versions that a table still has, and the version of every tag; StorageError when they cannot be read."""
    dataset = open_table(dataset_dir, table)
    try:
        with reading():
            versions = {version["version"] for version in dataset.versions()}
            return versions, {tag: entry["version"] for tag, entry in dataset.tags.list().items()}
    except UNREADABLE as error:
        path = table_path(dataset_dir, table)
        raise StorageError(f"{path}: its versions or tags cannot be read: {first_line(error)}") from error


def tables_there(dataset_dir: Path) -> list[str]:
    """The tables that the folder holds."""
    return [table for table in (*TABLES, TEXTS) if table_exists(dataset_dir, table)]


def forget_builds(dataset_dir: Path) -> list[str]:
    """Purge all builds but the newest: nothing names their versions any longer; returns their tags.

    The index goes first: it must never name a version that a clean-up may already have taken. StorageError
    when the newest versions are not those of a finished build, since then that build would be lost as well.
    """
    builds = finished_builds(dataset_dir)
    if not builds or builds[-1].versions != newest_versions(dataset_dir):
        raise StorageError(f"{dataset_dir}: a build was cut off: run build-dataset on it again first")
    forgotten = [build.tag for build in builds[:-1] if not build.purged]
    if forgotten:
        write_index(dataset_dir, [*(replace(build, purged=True) for build in builds[:-1]), builds[-1]])
    drop_unnamed_tags(dataset_dir)
    return forgotten


def drop_unnamed_tags(dataset_dir: Path) -> list[str]:
    """Delete the tables' tags that no build of the index has; says which."""
    named = {build.tag for build in finished_builds(dataset_dir) if not build.purged}
    dropped = []
    for table in tables_there(dataset_dir):
        for tag in sorted(versions_and_tags(dataset_dir, table)[1].keys() - named):
            open_table(dataset_dir, table).tags.delete(tag)
            dropped.append(f"{table}: tag {tag}, which no finished build has, deleted")
    return dropped


def set_missing_tags(dataset_dir: Path) -> list[str]:
    """Make the tables' tags say what the index says, where the version is still there; says which were set."""
    done = []
    for table in tables_there(dataset_dir):
        there, tags = versions_and_tags(dataset_dir, table)
        for build in finished_builds(dataset_dir):
            version = build.versions.get(table)
            if version is None or version not in there or build.purged or tags.get(build.tag) == version:
                continue
            set_tag(dataset_dir, table, build.tag, version)
            done.append(f"{table}: tag {build.tag} set to version {version}")
    return done
