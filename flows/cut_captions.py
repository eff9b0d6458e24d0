"""Tells whoever looks which captions or prompts a command's models read the beginning of only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flows.terminal import tell
from storage.local.visible import visible
from tasks.captions.cut_captions import cut_lines


def say_what_is_cut(
    command: str, counts: Mapping[str, Mapping[str, Any]] | None, what: str = "captions"
) -> None:
    """A line for each model that cuts some, in the terminal and in the log of the flow run."""
    from prefect import get_run_logger

    for line in cut_lines(counts or {}, what):
        tell(f"[{command}] {line}")
        get_run_logger().info("%s", visible(line))
