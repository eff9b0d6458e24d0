"""From finished sources to commits: workers write the rows, the driver commits them group by group."""

from __future__ import annotations

import time
from typing import Any

from storage.dataset.writer import DatasetWriter, SourceGroup
from storage.errors import StorageError
from tasks.ingest.executor import Executor, WorkLost
from tasks.ingest.items import Seconds, add_seconds, timed
from tasks.ingest.pipeline import FinishedSource
from tasks.ingest.rows import quarantine_row, source_row

ROWS_PER_WRITE = 256
MAX_SOURCES = 4096  # in a group without rows: corpora of nothing but broken files are committed too
MAX_AGE_S = 30.0  # what a crash can cost


class Committer:
    """Collects finished sources; while one group is being written by a worker, the next one fills.

    The time it takes is added to `seconds`; `lost` are sources whose rows went down with a machine.
    """

    def __init__(self, executor: Executor, writer: DatasetWriter, seconds: Seconds, group_rows: int) -> None:
        self._executor = executor
        self._writer = writer
        self._seconds = seconds
        self._group_rows = group_rows
        self._collected: list[FinishedSource] = []
        self._rows = 0
        self._since_s = time.monotonic()
        self._written: tuple[list[FinishedSource], list[Any]] | None = None
        self.lost: list[FinishedSource] = []

    def add(self, finished: FinishedSource) -> None:
        """Takes one finished source, and starts to write when there are enough."""
        if not self._collected:
            self._since_s = time.monotonic()
        self._collected.append(finished)
        self._rows += len(finished.kept) + len(finished.rejected)
        is_old = time.monotonic() - self._since_s > MAX_AGE_S
        if self._rows >= self._group_rows or len(self._collected) >= MAX_SOURCES or is_old:
            self._start_writing()

    def close(self) -> None:
        """Writes and commits what is left."""
        self._start_writing()
        self._commit_written()

    def _start_writing(self) -> None:
        self._commit_written()
        rows = [row for done in self._collected for row in (*done.kept, *done.rejected)]
        writes = [
            self._executor.write(self._writer.dataset_dir, rows[start : start + ROWS_PER_WRITE])
            for start in range(0, len(rows), ROWS_PER_WRITE)
        ]
        self._written = (self._collected, writes)
        self._collected, self._rows = [], 0

    def _commit_written(self) -> None:
        if self._written is None or not self._written[0]:
            return
        sources, writes = self._written
        self._written = None
        group = SourceGroup()
        try:
            for kept, rejected, seconds in map(self._executor.written, writes):
                group.clips += kept
                group.rejected += rejected
                add_seconds(self._seconds, seconds)
        except WorkLost:
            self.lost += sources
            return
        except (OSError, StorageError) as error:
            raise StorageError(f"{self._writer.dataset_dir}: cannot be written: {error}") from error
        for done in sources:
            clips = len(done.kept) + len(done.rejected)
            group.sources.append(source_row(done.source, done.signature, done.digest, clips, done.failure))
            if done.failure is not None:
                before = self._writer.attempts(done.source.source_id)
                group.quarantine.append(quarantine_row(done.source, done.failure, before))
        with timed(self._seconds, "commit"):
            self._writer.commit(group)
