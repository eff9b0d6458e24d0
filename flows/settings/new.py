"""Writes a new profile file over a known one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flows.profile import Profile, load_profile
from flows.settings.places import find_profile, profile_names, remember_profile
from flows.settings.text import new_file
from tasks.errors import RequestError
from tasks.output_folders import check_output_file


def write_new_profile(file: Path, base: str, changes: Mapping[str, Any], force: bool = False) -> Profile:
    """Writes the file and gives the profile that it is; raises as `new_profile` does."""
    text = new_profile(file, base, changes, force)
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(file)
    remember_profile(file.stem, file.absolute())
    return load_profile(str(file.absolute()))


def new_profile(file: Path, base: str, changes: Mapping[str, Any], force: bool = False) -> str:
    """Gives the text of a file that extends a profile.

    RequestError for a base that is none, a change that cannot be, or a file that is there, unless `force`.
    """
    usual = load_profile(base)
    load_profile(base, changes)
    check_output_file(file, "file")
    if file.suffix != ".toml":
        raise RequestError(f"file: {file} must end in .toml")
    if file.exists() and not force:
        raise RequestError(f"file: {file} is there already; --force writes over it")
    if file.stem in profile_names():
        raise RequestError(f"file: {file.stem} is the name of a shipped profile; call the file otherwise")
    found = find_profile(base)
    # The path of a base stays true wherever the new file lies.
    named = base if found.shipped else os.path.relpath(found.path, file.absolute().parent)
    if found.path == file.absolute():
        raise RequestError(f"file: {file} cannot extend itself")
    return new_file(usual, file.stem, named, changes)
