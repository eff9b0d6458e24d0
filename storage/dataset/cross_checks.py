"""What must hold between rows: ids once, sources in the ledger, one encoder, a text for every caption.

The ledger (`sources`) has to be taken first. Ids are kept as 64-bit digests; the few that seem to come twice
are looked up again by their text before anything is said.
"""

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Protocol

import numpy as np
import pyarrow as pa

from storage.dataset.columns import CAPTION, CLIP_ID, ENCODER, SCORER, SOURCE_ID
from storage.dataset.folder import CLIP_TABLES, TEXTS
from storage.dataset.removed import RemovedRules
from storage.dataset.table_reader import ROW, TableReader
from storage.errors import StorageError


class Complain(Protocol):
    """Takes a problem of one table."""

    def __call__(self, what: str, row: int | None = None, id: str | None = None) -> None: ...


class Report(Protocol):
    """Takes a problem of a table that is named."""

    def __call__(self, table: str, what: str, row: int | None = None, id: str | None = None) -> None: ...


@dataclass
class _Source:
    """A row of the ledger, and what was seen of it in the other tables."""

    counted: int
    failed_stage: str | None
    clips: int = 0
    split: str | None = None
    is_quarantined: bool = False


class CrossChecks:
    """Takes the batches of all tables of a build, then says what does not fit together."""

    def __init__(self, rules: RemovedRules) -> None:
        self._rules = rules
        self._ledger: dict[str, _Source] = {}
        self._clip_ids = array("Q")
        self._captions = array("Q")
        self._texts = array("Q")
        self._models: dict[str, dict[str, Counter[str]]] = {
            table: {ENCODER: Counter(), SCORER: Counter()} for table in CLIP_TABLES
        }

    def take(self, table: str, first_row: int, batch: pa.Table, complain: Complain) -> None:
        """Looks at a batch; what can be said at once is said."""
        if table == TEXTS:
            self._texts.extend(map(_digest, batch[CAPTION].to_pylist()))
            return
        taken = [SOURCE_ID, "corpus", *({"licence"} & set(batch.schema.names))]
        for row, values in enumerate(batch.select(taken).to_pylist(), start=first_row):
            named = values[SOURCE_ID], values.get("licence"), values["corpus"]
            if self._rules.is_removed(*named):
                complain("was removed (removed.json) and is still there", row, values[SOURCE_ID])
        if table == "sources":
            self._take_ledger(first_row, batch, complain)
        elif table == "quarantine":
            self._take_quarantine(first_row, batch, complain)
        else:
            self._take_clips(table, first_row, batch, complain)

    def _take_ledger(self, first_row: int, batch: pa.Table, complain: Complain) -> None:
        columns = batch.select([SOURCE_ID, "clips", "failed_stage"]).to_pylist()
        for row, values in enumerate(columns, start=first_row):
            if values[SOURCE_ID] in self._ledger:
                complain("the source is in the ledger twice", row, values[SOURCE_ID])
            self._ledger[values[SOURCE_ID]] = _Source(values["clips"], values["failed_stage"])

    def _take_quarantine(self, first_row: int, batch: pa.Table, complain: Complain) -> None:
        for row, source_id in enumerate(batch[SOURCE_ID].to_pylist(), start=first_row):
            source = self._ledger.get(source_id)
            if source is None:
                complain("the ledger does not know its source", row, source_id)
                continue
            if source.is_quarantined:
                complain("the source is in quarantine twice", row, source_id)
            elif source.failed_stage is None:
                complain("the ledger says that its source went through", row, source_id)
            source.is_quarantined = True

    def _take_clips(self, table: str, first_row: int, batch: pa.Table, complain: Complain) -> None:
        columns = batch.select([CLIP_ID, SOURCE_ID, "split", CAPTION, ENCODER, SCORER]).to_pylist()
        for row, values in enumerate(columns, start=first_row):
            clip_id = values[CLIP_ID]
            self._clip_ids.append(_digest(clip_id))
            if table == "clips":
                self._captions.append(_digest(values[CAPTION]))
            for name, counts in self._models[table].items():
                if values[name]:
                    counts[values[name]] += 1
            source = self._ledger.get(values[SOURCE_ID])
            if source is None:
                complain(f"the ledger does not know its source {values['source_id']}", row, clip_id)
                continue
            source.clips += 1
            if source.split is None:
                source.split = values["split"]
            elif source.split != values["split"]:
                complain(f"is of split {values['split']}, its source also of {source.split}", row, clip_id)

    def finish(self, tables: dict[str, TableReader], report: Report) -> None:
        """Says what only all rows together show; `tables` are read again where a digest came twice."""
        for source_id, source in self._ledger.items():
            what = _ledger_complaint(source)
            if what is not None:
                report("sources", what, id=source_id)
        for table, models in self._models.items():
            for name, counts in models.items():
                if len(counts) > 1:
                    mix = ", ".join(f"{digest} ({count})" for digest, count in sorted(counts.items()))
                    report(table, f"clips of more than one {name}: {mix}")
        self._report_doubles(tables, report)
        if TEXTS in tables:
            self._report_texts(tables, report)

    def _report_doubles(self, tables: dict[str, TableReader], report: Report) -> None:
        doubled = _doubled(self._clip_ids)
        seen: dict[str, tuple[str, int]] = {}
        for table in CLIP_TABLES:
            for row, clip_id in _rows_of(tables, table, CLIP_ID, doubled):
                if clip_id in seen:
                    report(
                        table, "clip_id is also that of row {1} of {0}".format(*seen[clip_id]), row, clip_id
                    )
                seen.setdefault(clip_id, (table, row))

    def _report_texts(self, tables: dict[str, TableReader], report: Report) -> None:
        texts = np.unique(np.frombuffer(self._texts, np.uint64)) if self._texts else np.empty(0, np.uint64)
        captions = np.unique(np.frombuffer(self._captions, np.uint64)) if self._captions else texts[:0]
        missing = np.setdiff1d(captions, texts, assume_unique=True)
        for caption in sorted({value for _, value in _rows_of(tables, "clips", CAPTION, missing)}):
            report(TEXTS, "has no states of a caption of clips", id=caption)
        seen: dict[str, int] = {}
        for row, caption in _rows_of(tables, TEXTS, CAPTION, _doubled(self._texts)):
            if caption in seen:
                report(TEXTS, f"caption is also that of row {seen[caption]}", row, caption)
            seen.setdefault(caption, row)


def _ledger_complaint(source: _Source) -> str | None:
    if source.failed_stage is not None:
        return None if source.is_quarantined else "failed, but is not in quarantine"
    if source.clips == 0:
        return "has no clips and no failure"
    if source.clips != source.counted:
        return f"the ledger counts {source.counted} clips, the tables have {source.clips}"
    return None


def _rows_of(
    tables: dict[str, TableReader], table: str, column: str, digests: np.ndarray
) -> Iterator[tuple[int, str]]:
    """Row numbers and values of a column, of those values that have one of these digests."""
    if not len(digests) or table not in tables:
        return
    wanted = set(digests.tolist())
    try:
        for batch in tables[table].batches([ROW, column]):
            for row, value in zip(batch[ROW].to_pylist(), batch[column].to_pylist(), strict=True):
                if _digest(value) in wanted:
                    yield row, value
    except StorageError:
        return  # said when the table was read


def _doubled(digests: array) -> np.ndarray:
    if not digests:
        return np.empty(0, np.uint64)
    values, counts = np.unique(np.frombuffer(digests, np.uint64), return_counts=True)
    return values[counts > 1]


def _digest(text: str | None) -> int:
    return int.from_bytes(blake2b((text or "").encode(), digest_size=8).digest(), "little")
