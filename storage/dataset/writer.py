"""The one writer of a dataset: groups of finished sources go in, each source entirely or not at all.

A group is up to four commits, one per table, the ledger `sources` last. Whatever a crash cuts off is
repaired by the next writer: rows of a source that the ledger does not know are dropped, and a source
that it knows in an older form is done again, its rows replaced in one commit per table. Sources that
`removed.json` names are dropped, from the ledger first: then all else of them is an orphan. Single rows are
rewritten or moved between `clips` and `rejected` by first writing them where they go; of a row that a
crash left in both, the one in `clips` stays, since only that one is sure to have its latents.
"""

import fcntl
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, NamedTuple, Self

from storage.dataset.builds import Build, finished_builds, newest_versions, record_build
from storage.dataset.removed import removed_rules
from storage.dataset.schema import TABLES, TEXTS, LatentShape
from storage.dataset.table_reader import UNREADABLE, first_line, reading
from storage.dataset.tables import (
    Fragments,
    check_is_dataset,
    column_values,
    commit_rows,
    create_table,
    create_texts,
    drop_doubles,
    numbered_rows,
    read_table,
    table_exists,
    write_rows,
)
from storage.errors import StorageError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


_KEYS = {"clips": "clip_id", "rejected": "clip_id", "quarantine": "source_id", "sources": "source_id"}


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
        self._lock: IO[str] | None = None
        self.repaired: list[str] = []
        """What was repaired on entry and since, a line each."""
        self.was_finished = False
        """Whether the tables were on entry as the last build left them."""

    @classmethod
    def reopen(cls, dataset_dir: Path) -> Self:
        """A writer for a dataset that is there; StorageError when there is none."""
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
            self._lock.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            self._lock.close()

    def is_done(self, source_id: str, signature: Signature) -> bool:
        """Whether this source, exactly as it is now, was committed or quarantined before."""
        entry = self._ledger.get(source_id)
        return entry is not None and entry.signature == signature

    def commit(self, group: SourceGroup) -> None:
        """Commit a group; a source that failed keeps the rows that an earlier form of it left."""
        known = {row["source_id"] for row in group.sources if row["source_id"] in self._ledger}
        failed = {row["source_id"] for row in group.quarantine}
        with writing(self.dataset_dir):
            quarantine = write_rows(self.dataset_dir, "quarantine", group.quarantine)
            ledger = write_rows(self.dataset_dir, "sources", group.sources)
            commit_rows(self.dataset_dir, "clips", group.clips, known - failed)
            commit_rows(self.dataset_dir, "rejected", group.rejected, known - failed)
            commit_rows(self.dataset_dir, "quarantine", quarantine, known)
            commit_rows(self.dataset_dir, "sources", ledger, known)
        for row in group.sources:
            self._attempts.pop(row["source_id"], None)
            self._ledger[row["source_id"]] = _entry(row)
        self._attempts.update((row["source_id"], row["attempts"]) for row in group.quarantine)

    def rewrite(self, group: RowGroup) -> None:
        """Put rows where they now belong; no version of the tables lacks one of them."""
        with writing(self.dataset_dir):
            commit_rows(self.dataset_dir, "clips", group.clips, group.clips_ids, "clip_id")
            gone = [*group.clips_ids, *group.rejected_ids]
            commit_rows(self.dataset_dir, "rejected", group.rejected, gone, "clip_id")
            commit_rows(self.dataset_dir, "clips", [], group.rejected_ids, "clip_id")

    def knows(self, source_id: str) -> bool:
        """Whether the source was committed or quarantined before, in whatever form."""
        return source_id in self._ledger

    def attempts(self, source_id: str) -> int:
        """How often a quarantined source was tried; 0 for any other."""
        return self._attempts.get(source_id, 0)

    def sources_with_clips(self, corpora: Collection[str]) -> set[str]:
        """Sources of these corpora that have given clips."""
        return {name for name, entry in self._ledger.items() if entry.clips and entry.corpus in corpora}

    def source_places(self) -> dict[str, str]:
        """Where the bytes of each source were when it was read, as the ledger has it."""
        return self._source_column("place")

    def official_splits(self) -> dict[str, str]:
        """The splits that the corpora themselves give."""
        return {name: split for name, split in self._source_column("split").items() if split is not None}

    def _source_column(self, column: str) -> dict[str, Any]:
        table = read_table(self.dataset_dir, "sources").to_table(["source_id", column])
        return dict(zip(table["source_id"].to_pylist(), table[column].to_pylist(), strict=True))

    def rows(self, columns: Sequence[str]) -> "dict[str, pa.Table]":
        """Columns of `clips` and `rejected` (there `reason` too), with the `row` and `version` to read them at."""
        return {
            "clips": numbered_rows(self.dataset_dir, "clips", columns),
            "rejected": numbered_rows(self.dataset_dir, "rejected", [*columns, "reason"]),
        }

    def captions(self, *tables: str) -> Iterator[str]:
        """The captions of all rows of these tables, one after the other."""
        for table in tables:
            for batch in read_table(self.dataset_dir, table).batches(["caption"]):
                yield from batch["caption"].to_pylist()

    def captions_without_states(self, text_encoder: str) -> list[str]:
        """Captions of `clips` that the table of text states lacks for this text encoder, sorted."""
        captions = column_values(self.dataset_dir, "clips", "caption")
        if table_exists(self.dataset_dir, TEXTS):
            there = read_table(self.dataset_dir, TEXTS).to_table(["caption", "text_encoder"]).to_pylist()
            captions -= {row["caption"] for row in there if row["text_encoder"] == text_encoder}
        return sorted(captions)

    def add_states(self, captions: Sequence[str], states_ktd: "np.ndarray", text_encoder: str) -> None:
        """Commit the states of captions, float16 (k, tokens, width), in the place of another encoder's."""
        rows = [
            {"caption": caption, "text_encoder": text_encoder, "states": states_td}
            for caption, states_td in zip(captions, states_ktd, strict=True)
        ]
        with writing(self.dataset_dir):
            create_texts(self.dataset_dir, *states_ktd.shape[1:])
            commit_rows(
                self.dataset_dir, TEXTS, write_rows(self.dataset_dir, TEXTS, rows), captions, "caption"
            )

    def count(self, table: str) -> int:
        """Rows of a table's newest version."""
        return read_table(self.dataset_dir, table).count_rows()

    def finish(self, summary: dict[str, Any]) -> Build:
        """Name the tables' versions by one tag, unless nothing changed since the last one."""
        with writing(self.dataset_dir):
            return record_build(self.dataset_dir, summary)

    def is_finished(self) -> bool:
        """Whether the tables are as the last build left them; then no crash came after it."""
        builds = finished_builds(self.dataset_dir)
        return bool(builds) and builds[-1].versions == newest_versions(self.dataset_dir)

    def _read_ledger(self) -> dict[str, LedgerEntry]:
        columns = ["source_id", "licence", "corpus", "clips", *Signature._fields]
        rules = removed_rules(self.dataset_dir)
        ledger: dict[str, LedgerEntry] = {}
        removed: list[str] = []
        for batch in read_table(self.dataset_dir, "sources").batches(columns):
            for row in batch.to_pylist():
                ledger[row["source_id"]] = _entry(row)
                if rules.is_removed(row["source_id"], row["licence"], row["corpus"]):
                    removed.append(row["source_id"])
        self._drop(ledger, removed)
        return ledger

    def _read_attempts(self) -> dict[str, int]:
        table = read_table(self.dataset_dir, "quarantine").to_table(["source_id", "attempts"])
        return dict(zip(table["source_id"].to_pylist(), table["attempts"].to_pylist(), strict=True))

    def drop_sources(self, source_ids: Collection[str]) -> None:
        """Forget these sources and drop every row of them."""
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
        """Drop what a crash left: rows without a ledger entry, and all but one of the rows that are there twice."""
        for table in ("clips", "rejected", "quarantine"):
            orphans = column_values(self.dataset_dir, table, "source_id") - self._ledger.keys()
            self._note(commit_rows(self.dataset_dir, table, [], orphans), table, "of no source of the ledger")
        for table, key in _KEYS.items():
            self._note(drop_doubles(self.dataset_dir, table, key), table, "that were there twice")
        kept = column_values(self.dataset_dir, "clips", "clip_id")
        both = kept & column_values(self.dataset_dir, "rejected", "clip_id")
        dropped = commit_rows(self.dataset_dir, "rejected", [], both, "clip_id")
        self._note(dropped, "rejected", "that are in clips as well")

    def _note(self, rows: int, table: str, what: str) -> None:
        if rows:
            self.repaired.append(f"{table}: {rows} rows {what} dropped")


def check_latent_shape(dataset_dir: Path, latent_shape: LatentShape) -> None:
    """StorageError when the folder holds clips of another shape than this build would add."""
    if not table_exists(dataset_dir, "clips"):
        return
    present = _latent_shape(dataset_dir)
    if present != tuple(latent_shape):
        raise StorageError(
            f"{dataset_dir}: holds clips with latents of shape {present}, this build makes "
            f"{tuple(latent_shape)}: choose another dataset folder or the settings it was made with"
        )


def _latent_shape(dataset_dir: Path) -> LatentShape:
    shape = read_table(dataset_dir, "clips").tensor_shape("latents")
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
    """Make a StorageError of what is the user's to mend: a disk that is full or gone, files that are damaged."""
    try:
        with reading():
            yield
    except UNREADABLE as error:
        raise StorageError(
            f"{dataset_dir}: cannot be written: {first_line(error)}; what was committed stays, run it again to go on"
        ) from error


def _locked(dataset_dir: Path) -> IO[str]:
    """Hold the folder's lock until the file is closed or this process ends, however it ends."""
    try:
        dataset_dir.mkdir(parents=True, exist_ok=True)
        lock = (dataset_dir / "build.lock").open("w")
    except OSError as error:
        raise StorageError(f"{dataset_dir}: cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise StorageError(f"{dataset_dir}: another build is writing to it: wait for it to end") from error
    return lock
