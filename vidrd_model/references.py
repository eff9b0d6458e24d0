"""What names a model: a folder, `id@revision` of a hub, or an address such as `models:/vidrd@champion`."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from vidrd_model.errors import ModelError
from vidrd_model.image_models import split_revision

ENTRY_POINTS = "vidrd_model.references"
"""The group in which a package provides, under a scheme's name, a function from an address to a model's folder."""

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):/")
_OF_THE_HUB = ("cache_dir", "force_download", "local_files_only", "token")


def find_folder(reference: str | Path, settings: dict[str, Any]) -> Path:
    """The folder of a model; takes out of `settings` what is for the hub alone.

    Raises ModelError, naming the reference, for what is none; what the provider of a scheme raises is passed on.
    """
    of_the_hub = {name: settings.pop(name) for name in _OF_THE_HUB if name in settings}
    revision = settings.pop("revision", None)
    folder, scheme = Path(reference), _SCHEME.match(str(reference))
    if folder.exists():
        if not (folder / "model_index.json").is_file():
            raise ModelError(f"{folder}: no model folder (model_index.json is missing)")
        return folder
    if scheme:
        return Path(_provider(scheme[1], str(reference))(str(reference)))
    name, pinned = split_revision(str(reference))
    if name.count("/") > 1 or name.startswith((".", "/", "~")):
        raise ModelError(f"{reference}: no model folder (there is nothing)")
    return _downloaded(name, revision or pinned, settings.get("variant"), of_the_hub)


def _provider(scheme: str, reference: str) -> Callable[[str], str | Path]:
    for provided in entry_points(group=ENTRY_POINTS, name=scheme):
        provider: Callable[[str], str | Path] = provided.load()
        return provider
    known = sorted(entry_points(group=ENTRY_POINTS).names)
    raise ModelError(
        f"{reference}: nothing that is installed knows {scheme}:/ ({', '.join(known) or 'no scheme'} is known)"
    )


def _downloaded(name: str, revision: str | None, variant: str | None, of_the_hub: dict[str, Any]) -> Path:
    """The folder of a hub id: its configurations, and the safetensors, of a variant where there are some."""
    # The weights of another variant have one more part in their names, and code is not fetched at all.
    others = "*.*.safetensors"
    wanted = ["*.json", "*.txt", "*.safetensors", "README.md"]
    try:
        folder = snapshot_download(
            name,
            revision=revision,
            allow_patterns=wanted,
            ignore_patterns=None if variant else others,
            **of_the_hub,
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"{name}: neither a model folder nor a model of the hub ({reason})") from error
    return Path(folder)
