"""From finished sources to commits: Ray tasks write the rows, the driver commits them group by group."""

import time
from typing import Any

import ray

from storage.writer import DatasetWriter, SourceGroup
from tasks.build.items import Seconds, add_seconds, quarantine_row, source_row, timed
from tasks.build.pipeline import FinishedSource
from tasks.build.workers import write_clip_rows

ROWS_PER_WRITE = 256
MAX_SOURCES = 4096  # in a group without rows: corpora of nothing but broken files are committed too
MAX_AGE_S = 30.0  # what a crash can cost


class Committer:
    """Collects finished sources; while one group is being written by a worker, the next one fills.

    The time it takes is added to `seconds`.
    """

    def __init__(self, writer: DatasetWriter, seconds: Seconds, group_rows: int) -> None:
        self._writer = writer
        self._seconds = seconds
        self._group_rows = group_rows
        # No CPU reserved: writing must not queue behind a decoder that may take an hour over its film.
        self._write = ray.remote(num_cpus=0, max_retries=2)(write_clip_rows)
        self._collected: list[FinishedSource] = []
        self._since_s = time.monotonic()
        self._written: tuple[list[FinishedSource], list[Any]] | None = None

    def add(self, finished: FinishedSource) -> None:
        """Take one finished source, and start to write when there are enough."""
        if not self._collected:
            self._since_s = time.monotonic()
        self._collected.append(finished)
        rows = sum(len(done.kept) + len(done.rejected) for done in self._collected)
        is_old = time.monotonic() - self._since_s > MAX_AGE_S
        if rows >= self._group_rows or len(self._collected) >= MAX_SOURCES or is_old:
            self._start_writing()

    def close(self) -> None:
        """Write and commit what is left."""
        self._start_writing()
        self._commit_written()

    def _start_writing(self) -> None:
        self._commit_written()
        rows = [row for done in self._collected for row in (*done.kept, *done.rejected)]
        writes = [
            self._write.remote(self._writer.dataset_dir, *rows[start : start + ROWS_PER_WRITE])
            for start in range(0, len(rows), ROWS_PER_WRITE)
        ]
        self._written = (self._collected, writes)
        self._collected = []

    def _commit_written(self) -> None:
        if self._written is None or not self._written[0]:
            return
        sources, writes = self._written
        group = SourceGroup()
        for clips, rejected, seconds in ray.get(writes):
            group.clips += clips
            group.rejected += rejected
            add_seconds(self._seconds, seconds)
        for done in sources:
            counts = len(done.kept), len(done.rejected)
            group.sources.append(source_row(done.source, done.signature, *counts, done.failure))
            if done.failure is not None:
                group.quarantine.append(quarantine_row(done.source, done.failure))
        with timed(self._seconds, "commit"):
            self._writer.commit(group)
        self._written = None
