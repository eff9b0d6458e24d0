"""Shows the progress of long work: lines in the terminal and, inside a Prefect run, its log and an artifact."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from flows.runs.artifacts import ProgressArtifact, log_line
from flows.terminal import FAINT, PLAIN, STRONG, tell_styled
from tasks.units import duration

MIN_INTERVAL_S = 2.0
LOG_INTERVAL_S = 30.0


class StageProgress:
    """Takes `on_progress(done, total, note="")` as often as it is called, and shows it every two seconds.

    Every half minute, and at the end, it is a line of the run's log too.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._started_s = time.monotonic()
        self._shown_s = self._logged_s = float("-inf")
        self._first: tuple[float, float] | None = None
        self._said = self._left = ""
        self._percent = 0.0
        self._artifact = ProgressArtifact(name)

    def __call__(self, done: float, total: int | None, note: str = "") -> None:
        """Notes how far the work is, parts included; `total` is None while unknown, `note` says what is going on."""
        of = f"/{total}" if total else ""
        share = f" {int(100 * done / total):3d} %" if total else ""
        self._percent = 100.0 * min(done, total) / total if total else self._percent
        self._said = f"{int(done)}{of}{share}{'  ' + note if note else ''}"
        self._left = self._time_left(done, total)
        if time.monotonic() - self._shown_s >= MIN_INTERVAL_S:
            self._show()

    def finish(self, failed: bool) -> None:
        """Shows the last state, and how long the stage took in seconds."""
        if not failed:
            self._percent = 100.0
        took = f"{time.monotonic() - self._started_s:.1f} s"
        last = f"{self._said}  " if self._said else ""
        self._said = f"{last}{'failed after' if failed else 'done in'} {took}"
        self._left, self._logged_s = "", float("-inf")
        self._show()

    def _show(self) -> None:
        self._shown_s = time.monotonic()
        left = f"  {self._left}" if self._left else ""
        tell_styled(((f"[{self.name}] ", STRONG), (self._said, PLAIN), (left, FAINT)))
        self._artifact.update(self._percent, f"{self._said}{left}")
        if self._shown_s - self._logged_s >= LOG_INTERVAL_S:
            self._logged_s = self._shown_s
            log_line(f"[{self.name}] {self._said}{left}")

    def _time_left(self, done: float, total: int | None) -> str:
        """Says how long the rest takes at the pace since the first call: work that goes on starts in its middle."""
        now_s = time.monotonic()
        if self._first is None:
            self._first = (now_s, done)
        since_s, before = self._first
        if not total or done <= before or done >= total:
            return ""
        left_s = (now_s - since_s) / (done - before) * (total - done)
        return f"about {duration(left_s)} left"


@contextmanager
def stage_progress(name: str) -> Iterator[StageProgress]:
    """Gives the `on_progress(done, total, note="")` of one stage and closes it with the time taken."""
    progress = StageProgress(name)
    try:
        yield progress
    except Exception:
        progress.finish(failed=True)
        raise
    progress.finish(failed=False)
