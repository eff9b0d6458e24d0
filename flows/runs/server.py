"""Which Prefect server records the runs of a command, found out without importing Prefect where there is none."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

from storage.local.services import running_services

_VARIABLE = "PREFECT_API_URL"


def server_address() -> str | None:
    """The address of `$PREFECT_API_URL`, of Prefect's own settings or of a running `vidrd up`; None without any."""
    address = os.environ.get(_VARIABLE) or _address_of_settings()
    if address:
        return address
    services = running_services()
    return None if services is None else services.prefect_api


def _address_of_settings() -> str | None:
    """The address that Prefect's profiles or settings files name; Prefect itself is asked only where one may be."""
    if not (_VARIABLE in _text(_profiles()) or _settings_name_one()):
        return None
    from prefect.settings import get_current_settings

    return get_current_settings().api.url


def _profiles() -> Path:
    home = Path(os.environ.get("PREFECT_HOME") or "~/.prefect")
    return Path(os.environ.get("PREFECT_PROFILES_PATH") or home / "profiles.toml").expanduser()


def _settings_name_one() -> bool:
    """Whether a settings file of the working directory names an address; those are Prefect's names for them."""
    pyproject = _table(_table(_toml(Path("pyproject.toml")), "tool"), "prefect")
    tables = (_toml(Path("prefect.toml")), pyproject)
    return _VARIABLE in _text(Path(".env")) or any("url" in _table(table, "api") for table in tables)


def _table(values: dict[str, Any], name: str) -> dict[str, Any]:
    table = values.get(name)
    return table if isinstance(table, dict) else {}


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(_text(path))
    except tomllib.TOMLDecodeError:
        return {}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
