"""What an evaluation leaves with a registered version: files under `evaluation/SETUP` of the run that it came from.

A set-up's digest stands for everything but the model, so versions that have the same one can be compared.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from storage.registry.mlflow_access import one_line_errors
from storage.registry.registry import Registry

_FOLDER = "evaluation"


def keep_evaluation(registry: Registry, version: int, setup: str, files: Sequence[Path]) -> None:
    """Copies files to the version's run, in place of those of an earlier evaluation of the same set-up."""
    run_id = registry.version_run(version)
    with one_line_errors(registry.uri):
        for file in files:
            registry.client.log_artifact(run_id, str(file), f"{_FOLDER}/{setup}")


def was_evaluated(registry: Registry, version: int, setup: str, file: str) -> bool:
    """Returns whether an evaluation of this set-up has left that file with the version."""
    with one_line_errors(registry.uri):
        found = registry.client.list_artifacts(registry.version_run(version), f"{_FOLDER}/{setup}")
    return f"{_FOLDER}/{setup}/{file}" in {info.path for info in found}


def evaluated_setups(registry: Registry, version: int) -> list[str]:
    """Returns the set-ups under which a version was ever evaluated."""
    with one_line_errors(registry.uri):
        found = registry.client.list_artifacts(registry.version_run(version), _FOLDER)
    return sorted(info.path.removeprefix(f"{_FOLDER}/") for info in found if info.is_dir)


def fetch_evaluation(registry: Registry, version: int, setup: str, file: str, folder: Path) -> Path:
    """Copies a file of an evaluation below `folder`."""
    target = Path(tempfile.mkdtemp(prefix=f"version-{version}-", dir=folder))
    with one_line_errors(registry.uri):
        return Path(
            registry.client.download_artifacts(
                registry.version_run(version), f"{_FOLDER}/{setup}/{file}", str(target)
            )
        )
