"""The order in which a training sees its clips, and the randomness that belongs to each of them.

Everything here depends on the seed and the dataset alone, never on the number of workers or a restart: the clips of a
step are computed from its number, so that a training goes on in the middle of an epoch by counting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

import numpy as np
import torch

from tasks.errors import RequestError
from tasks.training.settings import Mix
from tasks.training.splits import ClipRow, ClipRows

MIX_BLOCK = 1000
"""So many clips in a row hold exactly the shares of a mix."""


@dataclass(frozen=True)
class EpochClip:
    """A clip in one pass over the data; the same clip in another epoch gets other noise."""

    epoch: int
    clip: ClipRow


class ClipOrder:
    """Gives clips by step: every epoch is one seeded shuffle of all clips, end to end.

    With a mix, every kind of source has epochs of its own, and a step takes from each kind its share. Raises
    RequestError when a kind that the mix asks for has no clips.
    """

    def __init__(self, clips: ClipRows | Sequence[ClipRow], seed: int, mix: Mix | None = None):
        self._clips = clips
        self._seed = seed
        self._mix = _Mix(clips, seed, mix) if mix else None  # type: ignore[arg-type]

    def batch(self, step: int, batch_size: int) -> list[EpochClip]:
        """Returns the clips of a step over all workers."""
        return [self._at(position) for position in range(step * batch_size, (step + 1) * batch_size)]

    def steps_per_epoch(self, batch_size: int) -> float:
        """Returns the steps until as many clips were seen as there are."""
        return len(self._clips) / batch_size

    def _at(self, position: int) -> EpochClip:
        if self._mix is None:
            epoch, index = divmod(position, len(self._clips))
            return EpochClip(epoch, self._clips[int(_order(len(self._clips), self._seed, epoch)[index])])
        kind, position = self._mix.locate(position)
        of_kind = self._mix.indices[kind]
        epoch, index = divmod(position, len(of_kind))
        return EpochClip(
            epoch, self._clips[int(of_kind[_order(len(of_kind), self._seed, epoch, kind)[index]])]
        )


class _Mix:
    """Says which kind each position of the stream takes from, and which clip of that kind's own stream it is."""

    def __init__(self, clips: ClipRows, seed: int, shares: Mix) -> None:
        wanted = {kind: share for kind, share in sorted(shares.items()) if share > 0}
        self.indices = [clips.of_kind(kind) for kind in wanted]
        for kind, found in zip(wanted, self.indices, strict=True):
            if not len(found):
                raise RequestError(
                    f"mix: the dataset has no clips of {kind} to train on; leave them out of the mix"
                )
        self._counts = _whole_shares(list(wanted.values()))
        self._seed = seed

    def locate(self, position: int) -> tuple[int, int]:
        """Returns the number of the kind and the position in its stream."""
        block, index = divmod(position, MIX_BLOCK)
        kinds, ranks = _mixed_block(self._counts, self._seed, block)
        kind = int(kinds[index])
        return kind, block * self._counts[kind] + int(ranks[index])


def _whole_shares(shares: Sequence[float]) -> tuple[int, ...]:
    """Returns shares as counts that add up to a block, the largest remainders rounded up."""
    exact = np.asarray(shares) / sum(shares) * MIX_BLOCK
    counts = np.floor(exact).astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: MIX_BLOCK - counts.sum()]] += 1
    return tuple(int(count) for count in counts)


@lru_cache(maxsize=4)
def _mixed_block(counts: tuple[int, ...], seed: int, block: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the kinds of a block in their order, and how many of the same kind come before each in it."""
    kinds = np.repeat(np.arange(len(counts)), counts)
    kinds = kinds[np.random.default_rng([seed, block, len(counts)]).permutation(MIX_BLOCK)]
    ranks = np.empty(MIX_BLOCK, np.int64)
    for kind, count in enumerate(counts):
        ranks[kinds == kind] = np.arange(count)
    return kinds, ranks


@lru_cache(maxsize=8)  # a step may lie across two epochs, and every kind of a mix has its own
def _order(count: int, seed: int, epoch: int, kind: int | None = None) -> np.ndarray:
    key = [seed, epoch] if kind is None else [seed, epoch, kind]
    return np.random.default_rng(key).permutation(count)


def clip_key(*key: object) -> int:
    """Returns a number below 2**63 that stands for a key, such as (seed, epoch, clip id)."""
    digest = blake2b("\n".join(map(str, key)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def seeded_generator(*key: object) -> torch.Generator:
    """Returns a random generator that belongs to a key, such as (seed, epoch, clip id)."""
    return torch.Generator().manual_seed(clip_key(*key))
