"""The one writer of a dataset: groups of finished sources go in, each source entirely or not at all.

A group is up to four commits, one per table, the ledger `sources` last. Whatever a crash cuts off is
repaired by the next writer: rows of a source that the ledger does not know are dropped, and a source
that it knows in an older form is done again, its rows replaced in one commit per table. Sources that
`removed.json` names are dropped, from the ledger first: then all else of them is an orphan. Single rows are
rewritten or moved between `clips` and `rejected` by first writing them where they go; of a row that a
crash left in both, the one in `clips` stays, since only that one is sure to have its latents.
"""

import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
from filelock import FileLock, Timeout

from storage.dataset.builds import Build, finished_builds
from storage.dataset.columns import CAPTION, CLIP_ID, LATENTS, SOURCE_ID, STATES, TEXT_ENCODER
from storage.dataset.folder import CLIP_TABLES, TABLES, TEXTS, check_is_dataset, table_exists
from storage.dataset.removed import removed_rules
from storage.dataset.schema import LatentShape
from storage.dataset.table_reader import UNREADABLE, TableReader, first_line, reading
from storage.dataset.tables import (
    Fragments,
    commit_rows,
    complete_columns,
    create_table,
    create_texts,
    drop_doubles,
    read_table,
    write_rows,
)
from storage.dataset.tags import newest_versions, record_build
from storage.errors import StorageError

_KEYS = {"clips": CLIP_ID, "rejected": CLIP_ID, "quarantine": SOURCE_ID, "sources": SOURCE_ID}


class Signature(NamedTuple):
    """What a source's rows depend on; while it is the same, they need not be made again."""

    size_bytes: int
    mtime_ns: int
    labels: str
    settings: str


@dataclass
class SourceGroup:
    """Finished sources that are committed together.

    `sources` and `quarantine` hold rows of those tables; `clips` and `rejected` hold fragments that
    workers have already written for the same sources.
    """

    sources: list[dict[str, Any]] = field(default_factory=list)
    quarantine: list[dict[str, Any]] = field(default_factory=list)
    clips: Fragments = field(default_factory=list)
    rejected: Fragments = field(default_factory=list)


class LedgerEntry(NamedTuple):
    """What the ledger remembers of a source in memory."""

    signature: Signature
    corpus: str
    clips: int


@dataclass
class RowGroup:
    """Rows, written again by workers, that take the place of those with the same clip_id in either table."""

    clips: Fragments = field(default_factory=list)
    rejected: Fragments = field(default_factory=list)
    clips_ids: list[str] = field(default_factory=list)
    rejected_ids: list[str] = field(default_factory=list)


class DatasetWriter:
    """Exclusive access to a dataset folder, repaired on entry; use it as a context manager."""

    def __init__(self, dataset_dir: Path, latent_shape: LatentShape) -> None:
        self.dataset_dir = dataset_dir
        self._latent_shape = latent_shape
        self._ledger: dict[str, LedgerEntry] = {}
        self._attempts: dict[str, int] = {}
        self._lock: FileLock | None = None
        self.repaired: list[str] = []
        """What was repaired on entry and since, a line each."""
        self.was_finished = False
        """Whether the tables were on entry as the last build left them."""

    @classmethod
    def reopen(cls, dataset_dir: Path) -> Self:
        """Makes a writer for a dataset that is there; StorageError when there is none."""
        check_is_dataset(dataset_dir)
        return cls(dataset_dir, _latent_shape(dataset_dir))

    def __enter__(self) -> Self:
        self._lock = _locked(self.dataset_dir)
        try:
            check_latent_shape(self.dataset_dir, self._latent_shape)
            _check_ledger(self.dataset_dir)
            with writing(self.dataset_dir):
                for table in TABLES:
                    create_table(self.dataset_dir, table, self._latent_shape)
                self.was_finished = self.is_finished()
                self._ledger = self._read_ledger()
                if not self.is_finished():
                    self.repair()
                self._attempts = self._read_attempts()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            self._lock.release()

    def is_done(self, source_id: str, signature: Signature) -> bool:
        """Tells whether this source, exactly as it is now, was committed or quarantined before."""
        entry = self._ledger.get(source_id)
        return entry is not None and entry.signature == signature

    def commit(self, group: SourceGroup) -> None:
        """Commits a group; a source that failed keeps the rows that an earlier form of it left."""
        known = {row[SOURCE_ID] for row in group.sources if row[SOURCE_ID] in self._ledger}
        failed = {row[SOURCE_ID] for row in group.quarantine}
        with writing(self.dataset_dir):
            quarantine = write_rows(self.dataset_dir, "quarantine", group.quarantine)
            ledger = write_rows(self.dataset_dir, "sources", group.sources)
            commit_rows(self.dataset_dir, "clips", group.clips, known - failed)
            commit_rows(self.dataset_dir, "rejected", group.rejected, known - failed)
            commit_rows(self.dataset_dir, "quarantine", quarantine, known)
            commit_rows(self.dataset_dir, "sources", ledger, known)
        for row in group.sources:
            self._attempts.pop(row[SOURCE_ID], None)
            self._ledger[row[SOURCE_ID]] = _entry(row)
        self._attempts.update((row[SOURCE_ID], row["attempts"]) for row in group.quarantine)

    def rewrite(self, group: RowGroup) -> None:
        """Puts rows where they now belong; no version of the tables lacks one of them."""
        with writing(self.dataset_dir):
            commit_rows(self.dataset_dir, "clips", group.clips, group.clips_ids, CLIP_ID)
            gone = [*group.clips_ids, *group.rejected_ids]
            commit_rows(self.dataset_dir, "rejected", group.rejected, gone, CLIP_ID)
            commit_rows(self.dataset_dir, "clips", [], group.rejected_ids, CLIP_ID)

    def complete_columns(self) -> None:
        """Adds the columns that tables of an earlier version lack; to be called before workers write rows."""
        with writing(self.dataset_dir):
            for table in CLIP_TABLES:
                complete_columns(self.dataset_dir, table, self._latent_shape)

    def knows(self, source_id: str) -> bool:
        """Tells whether the source was committed or quarantined before, in whatever form."""
        return source_id in self._ledger

    def attempts(self, source_id: str) -> int:
        """Tells how often a quarantined source was tried; 0 for any other."""
        return self._attempts.get(source_id, 0)

    def sources_with_clips(self, corpora: Collection[str]) -> set[str]:
        """Sources of these corpora that have given clips."""
        return {name for name, entry in self._ledger.items() if entry.clips and entry.corpus in corpora}

    def source_places(self) -> dict[str, str]:
        """Tells where the bytes of each source were when it was read, as the ledger has it."""
        return self._source_column("place")

    def official_splits(self) -> dict[str, str]:
        """Gives the splits that the corpora themselves give."""
        return {name: split for name, split in self._source_column("split").items() if split is not None}

    def _source_column(self, column: str) -> dict[str, Any]:
        table = self.table("sources").read([SOURCE_ID, column])
        return dict(zip(table[SOURCE_ID].to_pylist(), table[column].to_pylist(), strict=True))

    def table(self, name: str) -> TableReader:
        """Gives a table at its newest version, finished or not."""
        return read_table(self.dataset_dir, name)

    def captions_without_states(self, text_encoder: str) -> list[str]:
        """Captions of `clips` that the table of text states lacks for this text encoder, sorted."""
        captions = self.table("clips").distinct(CAPTION)
        if table_exists(self.dataset_dir, TEXTS):
            there = self.table(TEXTS).batches([CAPTION], where={TEXT_ENCODER: [text_encoder]})
            captions.difference_update(*(batch[CAPTION].to_pylist() for batch in there))
        return sorted(captions)

    def add_states(self, captions: Sequence[str], states_ktd: np.ndarray, text_encoder: str) -> None:
        """Commits the states of captions, float16 (k, tokens, width), in the place of another encoder's."""
        rows = [
            {CAPTION: caption, TEXT_ENCODER: text_encoder, STATES: states_td}
            for caption, states_td in zip(captions, states_ktd, strict=True)
        ]
        with writing(self.dataset_dir):
            create_texts(self.dataset_dir, *states_ktd.shape[1:])
            commit_rows(self.dataset_dir, TEXTS, write_rows(self.dataset_dir, TEXTS, rows), captions, CAPTION)

    def finish(self, summary: dict[str, Any]) -> Build:
        """Names the tables' versions by one tag, unless nothing changed since the last one."""
        with writing(self.dataset_dir):
            return record_build(self.dataset_dir, summary)

    def is_finished(self) -> bool:
        """Tells whether the tables are as the last build left them; then no crash came after it."""
        builds = finished_builds(self.dataset_dir)
        return bool(builds) and builds[-1].versions == newest_versions(self.dataset_dir)

    def _read_ledger(self) -> dict[str, LedgerEntry]:
        columns = [SOURCE_ID, "licence", "corpus", "clips", *Signature._fields]
        rules = removed_rules(self.dataset_dir)
        ledger: dict[str, LedgerEntry] = {}
        removed: list[str] = []
        for batch in self.table("sources").batches(columns):
            for row in batch.to_pylist():
                ledger[row[SOURCE_ID]] = _entry(row)
                if rules.is_removed(row[SOURCE_ID], row["licence"], row["corpus"]):
                    removed.append(row[SOURCE_ID])
        self._drop(ledger, removed)
        return ledger

    def _read_attempts(self) -> dict[str, int]:
        table = self.table("quarantine").read([SOURCE_ID, "attempts"])
        return dict(zip(table[SOURCE_ID].to_pylist(), table["attempts"].to_pylist(), strict=True))

    def drop_sources(self, source_ids: Collection[str]) -> None:
        """Forgets these sources and drops every row of them."""
        with writing(self.dataset_dir):
            self._drop(self._ledger, source_ids)
            self.repair()
            self._attempts = self._read_attempts()

    def _drop(self, ledger: dict[str, LedgerEntry], source_ids: Collection[str]) -> None:
        if source_ids:
            self._note(commit_rows(self.dataset_dir, "sources", [], source_ids), "sources", "taken down")
        for source_id in source_ids:
            ledger.pop(source_id, None)

    def repair(self) -> None:
        """Drops what a crash left: rows without a ledger entry, and all but one of the rows that are there twice."""
        for table in ("clips", "rejected", "quarantine"):
            orphans = self.table(table).distinct(SOURCE_ID) - self._ledger.keys()
            self._note(commit_rows(self.dataset_dir, table, [], orphans), table, "of no source of the ledger")
        for table, key in _KEYS.items():
            self._note(drop_doubles(self.dataset_dir, table, key), table, "that were there twice")
        kept = self.table("clips").distinct(CLIP_ID)
        both = kept & self.table("rejected").distinct(CLIP_ID)
        dropped = commit_rows(self.dataset_dir, "rejected", [], both, CLIP_ID)
        self._note(dropped, "rejected", "that are in clips as well")

    def _note(self, rows: int, table: str, what: str) -> None:
        if rows:
            self.repaired.append(f"{table}: {rows} rows {what} dropped")


def check_latent_shape(dataset_dir: Path, latent_shape: LatentShape) -> None:
    """Raises StorageError when the folder holds clips of another shape than this build would add."""
    if not table_exists(dataset_dir, "clips"):
        return
    present = _latent_shape(dataset_dir)
    if present != tuple(latent_shape):
        raise StorageError(
            f"{dataset_dir}: holds clips with latents of shape {present}, this build makes "
            f"{tuple(latent_shape)}: choose another dataset folder or the settings it was made with"
        )


def _latent_shape(dataset_dir: Path) -> LatentShape:
    shape = read_table(dataset_dir, "clips").tensor_shape(LATENTS)
    if len(shape) != 4:
        raise StorageError(
            f"{dataset_dir}: its latents are of shape {shape}, not (frames, channels, height, width)"
        )
    frames, channels, height, width = shape
    return frames, channels, height, width


def _entry(row: dict[str, Any]) -> LedgerEntry:
    signature = Signature(*(row[name] for name in Signature._fields))
    # One string for all sources of a corpus: the ledger is as long as the corpora.
    return LedgerEntry(signature, sys.intern(row["corpus"]), row["clips"])


def _check_ledger(dataset_dir: Path) -> None:
    """Without its ledger every row of a dataset would look like an orphan."""
    if table_exists(dataset_dir, "sources") or not table_exists(dataset_dir, "clips"):
        return
    if read_table(dataset_dir, "clips").count_rows():
        raise StorageError(
            f"{dataset_dir}: its ledger sources.lance is gone: nothing can be written without it"
        )


@contextmanager
def writing(dataset_dir: Path) -> Iterator[None]:
    """Makes a StorageError of what is the user's to mend: a disk that is full or gone, files that are damaged."""
    try:
        with reading():
            yield
    except UNREADABLE as error:
        raise StorageError(
            f"{dataset_dir}: cannot be written: {first_line(error)}; what was committed stays, run it again to go on"
        ) from error


def _locked(dataset_dir: Path) -> FileLock:
    """Takes the folder's lock, which is held until it is released or this process ends, however it ends."""
    # Where the file system knows no such locks nothing is written: a mark in its place would outlive a killed process.
    lock = FileLock(dataset_dir / "build.lock", timeout=0, thread_local=False, fallback_to_soft=False)
    try:
        dataset_dir.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise StorageError(f"{dataset_dir}: another build is writing to it: wait for it to end") from error
    except OSError as error:
        raise StorageError(f"{dataset_dir}: cannot be written: {error.strerror}") from error
    return lock
