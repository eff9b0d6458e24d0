"""A profile as text: every value with where it comes from, and a new file that says what each key is."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from flows.profile import Profile, load_profile
from flows.settings.keys import leaf_keys

_WIDTH = 110


def rows(profile: Profile) -> list[dict[str, Any]]:
    """Gives key, value, where it comes from and what it says, of every value, in the order of the sections."""
    values = _plain_values(profile)
    return [
        {"key": key, "value": values[key], "from": profile.origin(key), "says": field.description or ""}
        for key, field in leaf_keys(Profile)
    ]


def new_file(base: Profile, name: str, base_name: str, changes: Mapping[str, Any]) -> str:
    """Gives a profile file that extends another with every key as a comment but for those that change."""
    values, changed = _plain_values(base), _plain_values(load_profile(base.source, changes))
    lines = [
        f"# A profile over {base_name}: only what stands here without a # differs from it.",
        f"# vidrd profile show {name} tells every value and where it comes from.",
        f"name = {_toml(name)}",
        f"extends = {_toml(base_name)}",
    ]
    section = ""
    for key, field in leaf_keys(Profile):
        if key == "name":
            continue
        here, _, last = key.rpartition(".")
        if here != section:
            section = here
            lines += ["", f"[{section}]"]
        lines += textwrap.wrap(field.description or "", _WIDTH, initial_indent="# ", subsequent_indent="# ")
        lines.append(
            f"{'' if key in changes else '#'}{last} = {_toml((changed if key in changes else values)[key])}"
        )
    return "\n".join(lines) + "\n"


def _plain_values(profile: Profile) -> dict[str, Any]:
    return dict(_leaves(profile))


def _leaves(model: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    values = model.model_dump(mode="json")
    for name in type(model).model_fields:
        value = getattr(model, name)
        if hasattr(value, "model_dump"):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", values[name] if not isinstance(value, float) else value


def _toml(value: Any) -> str:
    """A value as TOML writes it; nothing is the text `none`, since TOML has no name for it."""
    if value is None:
        return '"none"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return str(value)
