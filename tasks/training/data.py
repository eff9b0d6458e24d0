"""Which clips a training sees, in which order, and the randomness that belongs to each of them.

Everything here depends on the seed and the dataset alone, never on the number of workers or a restart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from tasks.errors import RequestError

if TYPE_CHECKING:
    import torch

    from storage.dataset import ClipDataset

HELDOUT_SPLITS = ("val", "test")
MIN_HELDOUT_CLIPS = 8
_HELDOUT_SEED = 20230907  # fixed, so that trainings with different seeds are measured on the same clips
_VIDEO_KINDS = ("short-videos", "long-videos")


@dataclass(frozen=True)
class ClipRow:
    """A clip of the dataset: its row in the table, its id and its caption."""

    row: int
    clip_id: str
    caption: str


@dataclass(frozen=True)
class ClipSplit:
    """The clips to train on and those held out; `heldout_source` says where the latter come from."""

    train: list[ClipRow]
    heldout: list[ClipRow]
    heldout_source: str


def split_clips(dataset: ClipDataset, videos_only: bool = False) -> ClipSplit:
    """Part the clips of a dataset; `videos_only` leaves out those whose pixels are not kept (images).

    Held out is the split `val`, else `test`; where both have fewer than eight clips, an eighth of the
    training clips, which are then not trained on. Raises RequestError when nothing is left to train on.
    """
    kinds = _VIDEO_KINDS if videos_only else None
    train = _rows(dataset, "train", kinds)
    for name in HELDOUT_SPLITS:
        heldout = _rows(dataset, name, kinds)
        if len(heldout) >= MIN_HELDOUT_CLIPS:
            return _non_empty(dataset, ClipSplit(train, heldout, f"split {name}"))
    order = np.random.default_rng(_HELDOUT_SEED).permutation(len(train))
    count = min(max(MIN_HELDOUT_CLIPS, len(train) // 8), len(train) // 2)
    heldout = [train[i] for i in sorted(order[:count])]
    kept = [train[i] for i in sorted(order[count:])]
    return _non_empty(dataset, ClipSplit(kept, heldout, "seeded hold-out of split train"))


def pick_heldout(heldout: Sequence[ClipRow], samples: int) -> list[ClipRow]:
    """The fixed held-out samples: as many clips as asked for, each at least once before any comes twice."""
    order = np.random.default_rng(_HELDOUT_SEED).permutation(len(heldout))
    return [heldout[order[i % len(order)]] for i in range(samples)]


@dataclass(frozen=True)
class EpochClip:
    """A clip in one pass over the data; the same clip in another epoch gets other noise."""

    epoch: int
    clip: ClipRow


def global_batch(train: Sequence[ClipRow], seed: int, step: int, batch_size: int) -> list[EpochClip]:
    """The clips of a step over all workers: every epoch is one seeded shuffle of all clips, end to end."""
    positions = range(step * batch_size, (step + 1) * batch_size)
    orders = {epoch: _order(len(train), seed, epoch) for epoch in {p // len(train) for p in positions}}
    return [EpochClip(p // len(train), train[orders[p // len(train)][p % len(train)]]) for p in positions]


def seeded_generator(*key: object) -> torch.Generator:
    """A random generator that belongs to a key, such as (seed, epoch, clip id)."""
    import torch

    digest = blake2b("\n".join(map(str, key)).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)


def _rows(dataset: ClipDataset, split: str, kinds: Sequence[str] | None) -> list[ClipRow]:
    table = dataset.clips_table(["row", "clip_id", "caption"], split=split, kinds=kinds)
    columns = (table[name].to_pylist() for name in ("row", "clip_id", "caption"))
    return [ClipRow(*values) for values in zip(*columns, strict=True)]


def _non_empty(dataset: ClipDataset, split: ClipSplit) -> ClipSplit:
    if not split.train or not split.heldout:
        ref = f"{dataset.folder}@{dataset.tag}"
        raise RequestError(f"dataset: {ref} has too few clips of split train to train this part on")
    return split


@lru_cache(maxsize=2)  # a step may lie across two epochs
def _order(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(count)
