"""`--set section.key=value` as typed; imported by the command line, so nothing heavy."""

from __future__ import annotations

import json
import tomllib
from typing import Any

from tasks.errors import RequestError


def parse_assignment(text: str) -> tuple[str, Any]:
    """Reads `section.key=value` as typed: lists, tables and quoted texts as in a profile's file, all else as it stands.

    RequestError for a text that is none.
    """
    key, separator, value = text.partition("=")
    key, value = key.strip(), value.strip()
    if not separator or not key:
        raise RequestError(f"set: {text!r} is not section.key=value, such as temporal.lr=1e-5")
    if value[:1] not in ('"', "'", "[", "{"):
        return key, value
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        pass
    try:
        return key, json.loads(value)
    except ValueError as error:
        raise RequestError(
            f"set: {key}: {value} is neither a list, a table nor a quoted text: {error}"
        ) from error
