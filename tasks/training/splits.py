"""Which clips of a dataset are trained on and which are held out: by the column `split`, nothing else."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.errors import RequestError

if TYPE_CHECKING:
    import pyarrow as pa

    from storage.dataset.clip_dataset import ClipDataset

HELDOUT_SPLITS = ("val", "test")
MIN_HELDOUT_CLIPS = 8
_HELDOUT_SEED = 20230907  # fixed, so that trainings with different seeds are measured on the same clips
_VIDEO_KINDS = ("short-videos", "long-videos")
_COLUMNS = ("row", "clip_id", "caption", "kind")


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
        """One clip, or for a slice or an array of numbers several, as columns again."""
        if isinstance(index, slice):
            return ClipRows(self._table.take(range(len(self))[index]))
        if isinstance(index, np.ndarray):
            return ClipRows(self._table.take(index))
        return ClipRow(*(self._table[name][int(index)].as_py() for name in _COLUMNS))

    def __iter__(self) -> Iterator[ClipRow]:
        columns = (self._table[name].to_pylist() for name in _COLUMNS)
        return (ClipRow(*values) for values in zip(*columns, strict=True))

    def without(self, rows: Collection[int]) -> ClipRows:
        """All but the clips of these rows."""
        import pyarrow as pa

        left = ~np.isin(self._table["row"].to_numpy(), np.asarray(list(rows), np.int64))
        return ClipRows(self._table.filter(pa.array(left)))

    def of_kind(self, kind: str) -> np.ndarray:
        """Where the clips of a kind are among these."""
        import pyarrow.compute as pc

        return np.flatnonzero(pc.equal(self._table["kind"], kind).to_numpy(zero_copy_only=False))


@dataclass(frozen=True)
class ClipSplit:
    """The clips to train on and those held out; `heldout_source` says where the latter come from."""

    train: ClipRows
    heldout: ClipRows
    heldout_source: str


def split_clips(dataset: ClipDataset, videos_only: bool = False, left_out: Collection[int] = ()) -> ClipSplit:
    """Part the clips of a dataset; `videos_only` leaves out those whose pixels are not kept (images).

    `left_out` are rows that count as not there (`unusable_clips`).
    Held out is the split `val`, else `test`; where both have fewer than eight clips, an eighth of the
    training clips, which are then not trained on. Raises RequestError when nothing is left to train on.
    """
    kinds = _VIDEO_KINDS if videos_only else None
    train = ClipRows(dataset.clips_table(_COLUMNS, split="train", kinds=kinds)).without(left_out)
    for name in HELDOUT_SPLITS:
        heldout = ClipRows(dataset.clips_table(_COLUMNS, split=name, kinds=kinds))
        if len(heldout) >= MIN_HELDOUT_CLIPS:
            return _non_empty(dataset, ClipSplit(train, heldout.without(left_out), f"split {name}"))
    order = np.random.default_rng(_HELDOUT_SEED).permutation(len(train))
    count = min(max(MIN_HELDOUT_CLIPS, len(train) // 8), len(train) // 2)
    heldout, kept = train[np.sort(order[:count])], train[np.sort(order[count:])]
    return _non_empty(dataset, ClipSplit(kept, heldout, "seeded hold-out of split train"))


def pick_heldout(heldout: Sequence[ClipRow], samples: int) -> list[ClipRow]:
    """The fixed held-out samples: as many clips as asked for, each at least once before any comes twice."""
    order = np.random.default_rng(_HELDOUT_SEED).permutation(len(heldout))
    return [heldout[int(order[i % len(order)])] for i in range(samples)]


def _non_empty(dataset: ClipDataset, split: ClipSplit) -> ClipSplit:
    if not len(split.train) or not len(split.heldout):
        ref = f"{dataset.folder}@{dataset.tag}"
        raise RequestError(f"dataset: {ref} has too few clips of split train to train this part on")
    return split
