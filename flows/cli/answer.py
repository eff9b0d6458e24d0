"""How every command answers: a page for people, or with `--json` one object of the same shape for all of them.

{"command": "dataset info", "ok": true, "result": {...}}      or      {"command": ..., "ok": false, "error": "one line"}
"""

from __future__ import annotations

import sys
from typing import Any

from flows.cli.common import given
from flows.terminal import tell, tell_json
from storage.local.json_files import to_json


def answer(result: Any, ok: bool = True) -> None:
    """Prints what a command found or did; `ok` is false where its exit code says that something is wrong."""
    if given().as_json:
        _print_object({"command": given().command, "ok": ok, "result": result})
        return
    from flows.cli.page import print_page

    print_page(result, sys.stdout)


def answer_error(message: str, as_json: bool) -> None:
    """Prints the one line of an error to stderr, and with `--json` as an object to stdout too."""
    tell(f"error: {message}", always=True)
    if as_json:
        _print_object({"command": given().command or None, "ok": False, "error": message})


def _print_object(content: dict[str, Any]) -> None:
    tell_json(to_json(content, indent=2, default=str))
