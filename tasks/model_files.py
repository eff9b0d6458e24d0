"""Files of models: fetched from the hub, and named by a digest of their bytes."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path

from tasks.errors import RequestError


def files_digest(files: Iterable[Path]) -> str:
    """blake2b-128 of the files' bytes, one after the other, as hexadecimal digits."""
    digest = blake2b(digest_size=16)
    for path in files:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def folder_digest(folder: Path) -> str:
    """`files_digest` of all files below a folder, in the order of their paths."""
    return files_digest(sorted(path for path in folder.rglob("*") if path.is_file()))


def hub_folder(field: str, name: str, patterns: list[str]) -> Path:
    """The cached folder of a hub id (`id@revision` pins it) with the files of these patterns.

    Raises RequestError, naming the field of the request, when the hub has no such model.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    from vidrd_model.image_models import split_revision

    repository, revision = split_revision(name)
    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=patterns))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise RequestError(f"{field}: {name} is neither a folder nor a model on the hub: {reason}") from error
