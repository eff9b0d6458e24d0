"""Finished builds: `builds.json` beside the tables says which version of every table belongs to which tag.

Lance commits and tags one table at a time. The index is written last and atomically, so a tag counts as
soon as it is there, and a crash halfway through tagging leaves nothing to clean up: the next build
takes the same tag again.
"""

import json
import os
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from storage.errors import StorageError
from storage.schema import TABLES, TEXTS
from storage.tables import open_table, table_exists

INDEX = "builds.json"


@dataclass(frozen=True)
class Build:
    """One finished build: its tag, the version of every table, when it ended and what it counted."""

    tag: str
    versions: dict[str, int]
    finished_at: str
    summary: dict[str, Any] = field(default_factory=dict)


def finished_builds(dataset_dir: Path) -> list[Build]:
    """The dataset's finished builds, oldest first; StorageError when the index cannot be read."""
    path = dataset_dir / INDEX
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        return [Build(**entry) for entry in json.loads(text)["builds"]]
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(f"{path}: is not an index of builds: {error}") from error


def newest_versions(dataset_dir: Path) -> dict[str, int]:
    """The newest version of every table that is there, tagged or not."""
    there = [*TABLES, *([TEXTS] if table_exists(dataset_dir, TEXTS) else [])]
    return {table: open_table(dataset_dir, table).version for table in there}


def record_build(dataset_dir: Path, summary: dict[str, Any]) -> Build:
    """Tag the tables as they are now; the last build again when nothing changed since.

    `summary` is kept in the index as it is given, so it must be plain JSON.
    """
    builds = finished_builds(dataset_dir)
    versions = newest_versions(dataset_dir)
    if builds and builds[-1].versions == versions:
        return builds[-1]
    tag = f"build-{len(builds) + 1:04d}"
    for table, version in versions.items():
        tags = open_table(dataset_dir, table).tags
        if tag in tags.list():  # from a build that ended between tagging and writing the index
            tags.update(tag, version)
        else:
            tags.create(tag, version)
    build = Build(tag, versions, datetime.now(UTC).isoformat(timespec="seconds"), summary)
    _write_atomically(dataset_dir / INDEX, {"builds": [asdict(entry) for entry in [*builds, build]]})
    return build


def _write_atomically(path: Path, content: dict[str, Any]) -> None:
    """Write JSON so that a crash leaves either the old file or the new one."""
    partial = path.with_suffix(".partial")
    with partial.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
