"""Progress of long work: lines in the terminal and, inside a Prefect run, a progress artifact."""

import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from uuid import UUID

MIN_INTERVAL_S = 2.0


class StageProgress:
    """Called as `on_progress(done, total, note="")` as often as one likes; shows it every two seconds."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._started_s = time.monotonic()
        self._shown_s = float("-inf")
        self._pending: str | None = None
        self._percent = 0.0
        self._artifact_id = self._create_artifact()

    def __call__(self, done: int, total: int | None, note: str = "") -> None:
        """`total` is None while it is unknown; `note` is a few words on what is going on."""
        of = f"/{total}" if total else ""
        share = f" {100 * done // total:3d} %" if total else ""
        self._percent = 100.0 * min(done, total) / total if total else self._percent
        self._pending = f"{done}{of}{share}{'  ' + note if note else ''}"
        if time.monotonic() - self._shown_s >= MIN_INTERVAL_S:
            self._show()

    def finish(self, failed: bool) -> None:
        """Shows the last state, and how long the stage took in seconds."""
        if not failed:
            self._percent = 100.0
        took = f"{time.monotonic() - self._started_s:.1f} s"
        last = f"{self._pending}  " if self._pending else ""
        self._pending = f"{last}{'failed after' if failed else 'done in'} {took}"
        self._show()

    def _show(self) -> None:
        self._shown_s = time.monotonic()
        print(f"[{self.name}] {self._pending}", file=sys.stderr, flush=True)
        self._update_artifact(self._pending or "")
        self._pending = None

    def _create_artifact(self) -> "UUID | None":
        from prefect.context import get_run_context
        from prefect.exceptions import MissingContextError

        try:
            get_run_context()
        except MissingContextError:
            return None
        from prefect.artifacts import create_progress_artifact

        key = re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")
        created = create_progress_artifact(progress=0.0, key=f"progress-{key}", description=self.name)
        return cast("UUID", created)  # outside an event loop it is no coroutine

    def _update_artifact(self, description: str) -> None:
        if self._artifact_id is None:
            return
        import httpx
        from prefect.artifacts import update_progress_artifact
        from prefect.exceptions import PrefectException

        try:
            update_progress_artifact(self._artifact_id, progress=self._percent, description=description)
        except (httpx.HTTPError, PrefectException) as error:
            # Hours of work do not end because the server that shows them is away.
            self._artifact_id = None
            print(f"[{self.name}] progress is no longer shown in Prefect: {error}", file=sys.stderr)


@contextmanager
def stage_progress(name: str) -> Iterator[StageProgress]:
    """Gives the `on_progress(done, total, note="")` of one stage and closes it with the time taken."""
    progress = StageProgress(name)
    try:
        yield progress
    except BaseException:
        progress.finish(failed=True)
        raise
    progress.finish(failed=False)
