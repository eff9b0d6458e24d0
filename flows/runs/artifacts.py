"""What a run leaves with Prefect for its operator: lines of its log, and artifacts; outside of a run, nothing.

A command runs without Prefect where no server is set up to record it, so these functions ask first, and import Prefect
only where a run has brought it.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from flows.terminal import tell
from storage.local.visible import visible
from tasks import markdown


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


class ProgressArtifact:
    """The progress of one stage, as a bar on the run's page."""

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._id: Any = None
        if is_recorded():
            from prefect.artifacts import create_progress_artifact

            key = re.sub(r"[^a-z0-9]+", "-", stage.lower()).strip("-")
            self._id = create_progress_artifact(
                progress=0.0, key=f"progress-{key}", description=markdown.text(stage)
            )

    def update(self, percent: float, words: str) -> None:
        """Moves the bar, until the server that shows it is away."""
        if self._id is None:
            return
        import httpx
        from prefect.artifacts import update_progress_artifact
        from prefect.exceptions import PrefectException

        try:
            update_progress_artifact(self._id, progress=percent, description=markdown.text(words))
        except (httpx.HTTPError, PrefectException) as error:
            # Hours of work do not end because of it.
            self._id = None
            tell(f"[{self._stage}] progress is no longer shown in Prefect: {error}")
