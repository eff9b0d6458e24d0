"""Tells whoever looks which captions or prompts a command's models read the beginning of only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flows.runs.artifacts import log_line
from flows.terminal import tell
from tasks.captions.cut_captions import cut_lines


def say_what_is_cut(
    command: str, counts: Mapping[str, Mapping[str, Any]] | None, what: str = "captions"
) -> None:
    """A line for each model that cuts some, in the terminal and in the log of the flow run."""
    for line in cut_lines(counts or {}, what):
        tell(f"[{command}] {line}")
        log_line(line)
