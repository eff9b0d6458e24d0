"""A profile's files one over the other (`extends`), then what a command sets: the values, and who gave each."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from flows.settings.keys import flattened, leaf_keys, nested, why_no_key
from flows.settings.places import FoundProfile, find_profile
from storage.local.folders import is_address
from storage.local.typed_paths import as_typed, expanded
from tasks.errors import RequestError

SET, DEFAULT = "--set", "default"
"""Where a value comes from that no file gives."""

_EXTENDS = "extends"
_NOTHING = "none"
_SAID_OF = {"model": "model_licence", "clip": "made_for"}
_MAY_BE_NAMES = frozenset({"model", "clip", "captioner.model", "nudity.model"})
"""Paths, or names of a hub or library: taken for a path where it begins like one, or is there."""
_PATHS = frozenset(
    {"aesthetic.head", "evaluation.c3d_weights", "temporal.checkpoints", "decoder.checkpoints"}
)


@dataclass
class Layers:
    """Values by key, and where each comes from: the name of a shipped profile, the path of a file, or `--set`.

    `shipped` is the shipped profile at the bottom, None where no file extends one.
    """

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    shipped: str | None = None

    def put(self, values: Mapping[str, Any], origin: str) -> None:
        """Lays values over those that are there; what was said of a model does not hold for another one."""
        for model, said in _SAID_OF.items():
            if model in values and values[model] != self.values.get(model):
                self.values.pop(said, None)
                self.origins.pop(said, None)
        self.values |= values
        self.origins |= dict.fromkeys(values, origin)

    def tables(self) -> dict[str, Any]:
        """Gives the values as the classes of a profile take them."""
        return nested(self.values)

    def origin_of(self, key: str) -> str:
        """Tells who gave a value; of a section, what was set last in it."""
        inside = [origin for name, origin in self.origins.items() if name.startswith(f"{key}.")]
        return self.origins.get(key) or (SET if SET in inside else inside[-1] if inside else DEFAULT)


def read_layers(schema: type[BaseModel], found: FoundProfile, above: tuple[Path, ...] = ()) -> Layers:
    """Reads a profile's file over those that it extends.

    RequestError, one line that names the file, for one that cannot be read, a key that is none, or a circle.
    """
    path = found.path
    if path in above:
        raise RequestError(
            f"{path}: extends itself, by way of {', '.join(map(str, above[1:])) or 'its own name'}"
        )
    tables = _read_toml(path)
    base = tables.pop(_EXTENDS, None)
    layers = Layers(shipped=found.shipped)
    if base is not None:
        if not isinstance(base, str):
            raise RequestError(f'{path}: extends: write the name or path of a profile, such as "sd21"')
        layers = read_layers(schema, _base_of(path, base), (*above, path))
    layers.values.pop("name", None)  # a profile is called as its own file says, or as the file is
    values = dict(flattened({"name": found.default_name} | tables, schema))
    layers.put(_checked(schema, values, f"{path}: ", path.parent), found.shipped or str(path))
    return layers


def set_values(schema: type[BaseModel], layers: Layers, changes: Mapping[str, Any]) -> None:
    """Lays over what a command or deployment sets; RequestError for a key that is none."""
    for key, reason in _ONLY_IN_FILES.items():
        if key in changes:
            raise RequestError(f"set: {key}: {reason}")
    layers.put(_checked(schema, dict(changes), "set: ", Path.cwd()), SET)


_ONLY_IN_FILES = {
    "name": "is a profile's own; name another with --profile",
    _EXTENDS: "stands in a profile's file; name the profile with --profile",
}


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"{path}: not a TOML file: {error}") from error
    except OSError as error:
        raise RequestError(f"{path}: cannot be read: {error.strerror}") from error


def _base_of(path: Path, base: str) -> FoundProfile:
    try:
        return find_profile(expanded(base), path.parent)
    except (RequestError, ValueError) as error:
        raise RequestError(f"{path}: extends: {error}") from error


def _checked(schema: type[BaseModel], values: dict[str, Any], where: str, folder: Path) -> dict[str, Any]:
    """Gives the values with paths that are whole and with `none` as None where there may be nothing."""
    fields = dict(leaf_keys(schema))
    wrong = [reason for key in values if (reason := why_no_key(schema, key))]
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise RequestError(f"{where}{wrong[0]}{more}")
    checked = {}
    for key, value in values.items():
        if isinstance(value, str) and value.lower() == _NOTHING and _may_be_nothing(fields[key]):
            value = None
        elif isinstance(value, str) and key in _MAY_BE_NAMES | _PATHS:
            try:
                value = _beside(folder, value, key in _PATHS)
            except ValueError as error:
                raise RequestError(f"{where}{key}: {error}") from error
        checked[key] = value
    return checked


def _may_be_nothing(field_info: FieldInfo) -> bool:
    return NoneType in get_args(field_info.annotation)


def _beside(folder: Path, text: str, always: bool) -> str:
    """Gives the path beside the file that names it, as `expanded` reads it; one that is there only from here stays."""
    meant = expanded(text)
    if is_address(meant) or Path(meant).is_absolute():
        return text
    place = (folder / meant).resolve()
    is_path = meant.startswith(("./", "../")) or place.exists()
    if is_path or (always and not Path(meant).exists()):
        return as_typed(place)
    return text
