"""Near-duplicates across sources: which clip of them stays, and which sources must share a split."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tasks.filters.neighbours import Looks, NearIndex

BLOCK_CLIPS = 1024


def find_duplicates(clip_ids: Sequence[str], source_ids: Sequence[str], looks: Looks) -> dict[str, str]:
    """Gives every clip that is a near-duplicate, by its clip_id, and the kept clip that it repeats.

    Clips are taken in ascending clip_id, and one is kept unless it is near a kept clip of another source; where
    it is near several, the first is named. So the answer depends neither on the order of the clips nor on who
    found them first. Needs distinct clip_ids, one source_id and one look for each.
    """
    if not clip_ids:
        return {}
    order = np.argsort(np.array(clip_ids))
    ids = [clip_ids[row] for row in order]
    _, source_n = np.unique(np.array(source_ids)[order], return_inverse=True)
    index = looks.index(order)
    kept_by: dict[int, int] = {}
    for start in range(0, len(ids), BLOCK_CLIPS):
        block = np.arange(start, min(start + BLOCK_CLIPS, len(ids)))
        index.add(block)
        dropped = _dropped_in_block(index, block, source_n)
        index.remove(np.fromiter(dropped, np.int64, len(dropped)))
        kept_by |= dropped
    return {ids[row]: ids[kept] for row, kept in kept_by.items()}


def split_groups(clip_ids: Sequence[str], source_ids: Sequence[str], looks: Looks) -> dict[str, str]:
    """Gives the sources that share near-duplicates with others, and the smallest source_id of each one's group.

    Directly or through others, and before any clip is dropped: what must not be divided between train and test.
    """
    if not clip_ids:
        return {}
    order = np.argsort(np.array(clip_ids))
    names, source_n = np.unique(np.array(source_ids)[order], return_inverse=True)
    index = looks.index(order)
    # The group of a source is the number of its smallest member, and names are sorted: so is the representative.
    group_s = _merged(np.arange(len(names)), source_n, source_n[index.first_equal_n])
    group_n = group_s[source_n]
    distinct = np.flatnonzero(index.first_equal_n == np.arange(len(order)))
    for start in range(0, len(distinct), BLOCK_CLIPS):
        block = distinct[start : start + BLOCK_CLIPS]
        index.add(block)
        for i, j in index.near(block, group_n):
            group_s = _merged(group_s, source_n[i], source_n[j])
            group_n[:] = group_s[source_n]
    sizes = np.bincount(group_s, minlength=len(names))
    return {
        str(name): str(names[group]) for name, group in zip(names, group_s, strict=True) if sizes[group] > 1
    }


def _dropped_in_block(index: NearIndex, block: np.ndarray, source_n: np.ndarray) -> dict[int, int]:
    """Gives the rows of a block that repeat a kept one, with the first such; rows before the block are all kept."""
    first = int(block[0])
    earlier: dict[int, int] = {}
    inside: dict[int, list[int]] = {}
    for i, j in index.near(block, source_n):
        before = i < first
        nearest = np.full(len(block), first)
        np.minimum.at(nearest, j[before] - first, i[before])
        for offset in np.flatnonzero(nearest < first).tolist():
            row = first + offset
            earlier[row] = min(earlier.get(row, row), int(nearest[offset]))
        for kept, row in zip(i[~before].tolist(), j[~before].tolist(), strict=True):
            inside.setdefault(row, []).append(kept)
    dropped = dict(earlier)
    for row in sorted(inside.keys() - earlier.keys()):
        kept = [other for other in inside[row] if other not in dropped]
        if kept:
            dropped[row] = min(kept)
    return dropped


def _merged(group_s: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Gives the groups after those of the sources `first` and `second` have become one, pair by pair."""
    count = len(group_s)
    pairs = coo_array((np.ones(len(first), bool), (group_s[first], group_s[second])), shape=(count, count))
    merged, component_g = connected_components(pairs, directed=False)
    smallest_c = np.full(merged, count)
    np.minimum.at(smallest_c, component_g, np.arange(count))
    return smallest_c[component_g[group_s]]
