"""The tags of the tables, kept in step with the index of finished builds.

Lance commits and tags one table at a time. The index is written last and atomically, so a tag counts as
soon as it is there, and a crash halfway through tagging leaves nothing to clean up: the next build
takes the same tag again.
"""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from storage.dataset.builds import SETTINGS, Build, finished_builds, write_index
from storage.dataset.folder import table_path, tables_there
from storage.dataset.table_reader import UNREADABLE, first_line, reading
from storage.dataset.tables import open_table, read_table
from storage.errors import StorageError


def newest_versions(dataset_dir: Path) -> dict[str, int]:
    """Gives the newest version of every table that is there, tagged or not."""
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


def set_tag(dataset_dir: Path, table: str, tag: str, version: int) -> None:
    """Makes a table's tag name this version."""
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


def forget_builds(dataset_dir: Path) -> list[str]:
    """Purges all builds but the newest: nothing names their versions any longer; returns their tags.

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
    """Deletes the tables' tags that no build of the index has; says which."""
    named = {build.tag for build in finished_builds(dataset_dir) if not build.purged}
    dropped = []
    for table in tables_there(dataset_dir):
        for tag in sorted(versions_and_tags(dataset_dir, table)[1].keys() - named):
            open_table(dataset_dir, table).tags.delete(tag)
            dropped.append(f"{table}: tag {tag}, which no finished build has, deleted")
    return dropped


def set_missing_tags(dataset_dir: Path) -> list[str]:
    """Makes the tables' tags say what the index says, where the version is still there; says which were set."""
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
