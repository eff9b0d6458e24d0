"""A model as a folder on this machine, found without MLflow where the reference is a folder itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from storage.errors import StorageError
from storage.registry.names import REF_PREFIX


@dataclass(frozen=True)
class ResolvedModel:
    """A model reference and the folder it means; a plain folder has no version, run or tags."""

    folder: Path
    ref: str
    version: int | None = None
    run_id: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


def is_registered(ref: str | Path) -> bool:
    """Whether a reference names a version of the registry, and no folder."""
    return str(ref).startswith(REF_PREFIX)


def model_folder(ref: str | Path) -> ResolvedModel:
    """The model of a folder; StorageError, one line, when that is none."""
    folder = Path(ref).absolute()
    if not (folder / "model_index.json").is_file():
        raise StorageError(f"{ref}: no model folder (it has no model_index.json)")
    return ResolvedModel(folder, str(ref))
