"""What a run leaves with Prefect for its operator: lines of its log, and artifacts; outside of a run, nothing.

A command runs without Prefect where no server is set up to record it, so these functions ask first, and import Prefect
only where a run has brought it.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from storage.local.visible import visible


def is_recorded() -> bool:
    """Whether this is called in a run of Prefect."""
    if "prefect" not in sys.modules:
        return False
    from prefect.context import FlowRunContext

    return FlowRunContext.get() is not None


def log_line(line: str) -> None:
    """Writes one line into the run's log; words of others in it are made visible."""
    if is_recorded():
        from prefect import get_run_logger

        get_run_logger().info("%s", visible(line))


def show_markdown(text: str, key: str, description: str) -> None:
    """Leaves a Markdown artifact under `key`, for which Prefect takes a-z, 0-9 and dashes."""
    if is_recorded():
        from prefect.artifacts import create_markdown_artifact

        create_markdown_artifact(text, key=key, description=description)


def show_table(rows: Sequence[Mapping[str, Any]], key: str, description: str) -> None:
    """Leaves a table as an artifact; Prefect's page takes the texts of its cells for Markdown."""
    if is_recorded():
        from prefect.artifacts import create_table_artifact

        create_table_artifact([dict(row) for row in rows], key=key, description=description)
