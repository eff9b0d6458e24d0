"""Which clips of a dataset are trained on, which are held out, and which can be used for neither.

The column `split` decides between the first two, nothing else. Left out of both are clips whose stored numbers are not
all finite.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from storage.dataset.clip_dataset import ClipDataset
from storage.dataset.columns import VIDEO_KINDS
from storage.dataset.folder import TEXTS
from storage.dataset.table_reader import ROW
from tasks.errors import RequestError

HELDOUT_SPLITS = ("val", "test")
MIN_HELDOUT_CLIPS = 8
_HELDOUT_SEED = 20230907  # fixed, so that trainings with different seeds are measured on the same clips
_COLUMNS = ("row", "clip_id", "caption", "kind")

MAX_UNUSABLE_SHARE = 0.1
"""If more clips than this are not finite, the encoder is broken; fewer are single faults."""

_SHOWN_CLIPS = 16
_ROWS_AT_ONCE = 256
_EXPONENT_OF_FLOAT16 = 0x7C00


@dataclass(frozen=True)
class ClipRow:
    """A clip of the dataset: its row in the table, its id, its caption and the kind of its source."""

    row: int
    clip_id: str
    caption: str
    kind: str = "short-videos"


class ClipRows(Sequence[ClipRow]):
    """The rows of many clips, kept as columns: a billion Python objects would fill the memory."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table.select(_COLUMNS).combine_chunks()

    def __len__(self) -> int:
        return self._table.num_rows

    def __getitem__(self, index: Any) -> Any:
        """Returns one clip, or for a slice or an array of numbers several, as columns again."""
        if isinstance(index, slice):
            index = np.arange(len(self))[index]
        if isinstance(index, np.ndarray):
            return ClipRows(self._table.take(index))
        return ClipRow(*(self._table[name][int(index)].as_py() for name in _COLUMNS))

    def __iter__(self) -> Iterator[ClipRow]:
        columns = (self._table[name].to_pylist() for name in _COLUMNS)
        return (ClipRow(*values) for values in zip(*columns, strict=True))

    def without(self, rows: Collection[int]) -> ClipRows:
        """Returns all but the clips of these rows."""
        left = ~np.isin(self._table[ROW].to_numpy(), np.asarray(list(rows), np.int64))
        return ClipRows(self._table.filter(pa.array(left)))

    def of_kind(self, kind: str) -> np.ndarray:
        """Returns where the clips of a kind are among these."""
        return np.flatnonzero(pc.equal(self._table["kind"], kind).to_numpy(zero_copy_only=False))


@dataclass(frozen=True)
class ClipSplit:
    """The clips to train on and those held out; `heldout_source` says where the latter come from."""

    train: ClipRows
    heldout: ClipRows
    heldout_source: str


def split_clips(dataset: ClipDataset, videos_only: bool = False, left_out: Collection[int] = ()) -> ClipSplit:
    """Parts the clips of a dataset; `videos_only` leaves out those whose pixels are not kept (images).

    `left_out` are rows that count as not there (`unusable_clips`).
    Held out is the split `val`, else `test`; where both have fewer than eight clips, an eighth of the
    training clips, which are then not trained on. Raises RequestError when nothing is left to train on.
    """
    kinds = {"kind": VIDEO_KINDS} if videos_only else {}
    train = ClipRows(dataset.clips.read(_COLUMNS, where={"split": ["train"], **kinds})).without(left_out)
    for name in HELDOUT_SPLITS:
        heldout = ClipRows(dataset.clips.read(_COLUMNS, where={"split": [name], **kinds}))
        if len(heldout) >= MIN_HELDOUT_CLIPS:
            return _non_empty(dataset, ClipSplit(train, heldout.without(left_out), f"split {name}"))
    order = np.random.default_rng(_HELDOUT_SEED).permutation(len(train))
    count = min(max(MIN_HELDOUT_CLIPS, len(train) // 8), len(train) // 2)
    heldout, kept = train[np.sort(order[:count])], train[np.sort(order[count:])]
    return _non_empty(dataset, ClipSplit(kept, heldout, "seeded hold-out of split train"))


def pick_heldout(heldout: Sequence[ClipRow], samples: int) -> list[ClipRow]:
    """Returns the fixed held-out samples: as many clips as asked for, each at least once before any comes twice."""
    order = np.random.default_rng(_HELDOUT_SEED).permutation(len(heldout))
    return [heldout[int(order[i % len(order)])] for i in range(samples)]


def _non_empty(dataset: ClipDataset, split: ClipSplit) -> ClipSplit:
    if not len(split.train) or not len(split.heldout):
        ref = f"{dataset.folder}@{dataset.tag}"
        raise RequestError(f"dataset: {ref} has too few clips of split train to train this part on")
    return split


@dataclass(frozen=True)
class UnusableClips:
    """The clips that a training leaves out, by their rows in the table and by their ids."""

    rows: list[int]
    clip_ids: list[str]

    @property
    def note(self) -> str | None:
        """One line that names them; None where there are none."""
        if not self.rows:
            return None
        return f"left out, since their stored numbers are not finite: {name_clips(self.clip_ids)}"


def name_clips(clip_ids: list[str]) -> str:
    """Names the first few of some clips, and how many more there are."""
    more = f" and {len(clip_ids) - _SHOWN_CLIPS} more" if len(clip_ids) > _SHOWN_CLIPS else ""
    return f"{', '.join(clip_ids[:_SHOWN_CLIPS])}{more}"


def unusable_clips(dataset: ClipDataset, text_states: bool = False) -> UnusableClips:
    """Finds the clips whose latents, deviations or, with `text_states`, caption's states are not finite.

    One pass over these columns of the whole build. Raises RequestError when they are more than `MAX_UNUSABLE_SHARE` of
    all.
    """
    columns = ["latents", "latents_std"] if dataset.has_latents_std else ["latents"]
    found: list[int] = []
    for table in dataset.clips.batches([ROW, *columns], batch_rows=_ROWS_AT_ONCE):
        bad = np.zeros(table.num_rows, bool)
        for name in columns:
            bad |= _not_finite(table[name])
        found += table[ROW].to_numpy()[bad].tolist()
    clips = dataset.clips.read(["clip_id", "caption"])
    if text_states:
        captions = _captions_without_states(dataset)
        found = sorted(
            {*found, *(i for i, text in enumerate(clips["caption"].to_pylist()) if text in captions)}
        )
    all_ids = clips["clip_id"]
    ids = [all_ids[row].as_py() for row in found]
    if len(found) > MAX_UNUSABLE_SHARE * clips.num_rows:
        raise RequestError(
            f"dataset: {dataset.folder}@{dataset.tag}: the stored numbers of {len(found)} of {clips.num_rows} clips "
            f"are not finite ({name_clips(ids)}); build it again, or take these clips out with vidrd dataset remove"
        )
    return UnusableClips(found, ids)


def _captions_without_states(dataset: ClipDataset) -> set[str]:
    return {
        caption
        for table in dataset.table(TEXTS).batches(["caption", "states"], batch_rows=_ROWS_AT_ONCE)
        for caption, bad in zip(table["caption"].to_pylist(), _not_finite(table["states"]), strict=True)
        if bad
    }


def _not_finite(column: pa.ChunkedArray) -> np.ndarray:
    """Finds the tensors (float16) of a column that are missing or hold an infinity or a NaN, bool (rows,)."""
    tensors = column.combine_chunks()
    bad = tensors.is_null().to_numpy(zero_copy_only=False)
    there = np.flatnonzero(~bad)
    if len(there):
        values = tensors.storage.flatten().to_numpy(zero_copy_only=False).reshape(len(there), -1)
        # Five times as fast as isfinite, which knows no vectors of float16.
        exponents = values.view(np.uint16) & _EXPONENT_OF_FLOAT16
        bad[there] = (exponents == _EXPONENT_OF_FLOAT16).any(axis=1)
    return bad
