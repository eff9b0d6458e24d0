"""Clips that look alike, by the pixels of their fingerprints or by CLIP: indexes that give near pairs.

Both compute in whole numbers, so a pair is near or not whatever else is in the index and in any order of work.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tasks.filters.signals import FINGERPRINT_BYTES, FINGERPRINT_CELLS, FINGERPRINT_FRAMES

BANDS, BAND_BITS = 12, 16
MAX_SHIFT_LEVELS = 4  # of exposure that are forgiven
CONTRAST_FLOOR = 5.0  # noise, the same in a flat picture
USUAL_CONTRAST = 15.0  # at which a distance is in plain grey levels
CANDIDATES_AT_ONCE = 1 << 18
PAIRS_AT_ONCE = 1 << 15
_LUMA_BITS = FINGERPRINT_FRAMES * FINGERPRINT_CELLS**2
_SUM_BITS = (FINGERPRINT_BYTES * 255).bit_length()
_LUMA_WEIGHTS = np.array([299, 587, 114], dtype=np.int32)
# Any fixed one will do: neighbouring cells, which change together, come into different bands.
_BIT_ORDER = np.random.RandomState(0).permutation(_LUMA_BITS)
# Products of such features add up to at most 2048**2, which float32 holds exactly: so does every part of the sum.
_FEATURE_STEPS = 2048
_INDEXED_AT_ONCE = 8192
_MAIN_DIRECTIONS = 64

Pairs = tuple[np.ndarray, np.ndarray]
"""Rows i < j that look alike, two arrays of one length."""


class NearIndex(Protocol):
    """Some of n rows in a fixed order; finds those before a row that look like it."""

    first_equal_n: np.ndarray

    def add(self, rows: np.ndarray) -> None:
        """Puts rows into the index."""

    def remove(self, rows: np.ndarray) -> None:
        """Takes rows out of it."""

    def near(self, rows: np.ndarray, group_n: np.ndarray) -> Iterator[Pairs]:
        """Yields near pairs of an indexed row i and one j > i of `rows`.

        Rows of one group are no pair; `group_n` may be changed between two yields.
        """


class Looks(Protocol):
    """How n clips look."""

    def index(self, order: np.ndarray) -> NearIndex:
        """Makes an empty index whose row r is the clip `order[r]`."""


@dataclass(frozen=True)
class Fingerprints:
    """Clips by their fingerprints; near are those that `distance` puts at most `max_distance` apart.

    Only pairs that agree in one of twelve bands of a hash are compared: among them is every pair whose hashes of
    192 bits (is a cell brighter than its frame?) differ in eleven or fewer.
    """

    fingerprints: Sequence[bytes]
    max_distance: float

    def index(self, order: np.ndarray) -> NearIndex:
        joined = b"".join(self.fingerprints[row] for row in order)
        return _FingerprintIndex(
            np.frombuffer(joined, np.uint8).reshape(-1, FINGERPRINT_BYTES), self.max_distance
        )


@dataclass(frozen=True)
class MeanFeatures:
    """Clips by the means of their frames' CLIP features, (n, d) of any norm; near is a cosine of `min_cosine`."""

    features_nd: np.ndarray
    min_cosine: float

    def index(self, order: np.ndarray) -> NearIndex:
        return _FeatureIndex(self.features_nd[order], self.min_cosine)


def distance(a_pk: np.ndarray, b_pk: np.ndarray) -> np.ndarray:
    """Tells how far p pairs of fingerprints (uint8, (p, 576)) lie apart, float64 (p,), in grey levels.

    It is the mean absolute difference, after a change of exposure by up to four levels, in relation to the
    pictures' contrast: a crop shifts every edge by a part of a cell, and what that changes grows with the edge.
    """
    contrast_p = (_contrast(a_pk) + _contrast(b_pk)) / 2
    difference_pk = a_pk.astype(np.int16) - b_pk
    difference_pk -= _shift(difference_pk.sum(axis=1, dtype=np.int32))[:, None]
    return np.abs(difference_pk).sum(axis=1, dtype=np.int32) / (FINGERPRINT_BYTES * _relative(contrast_p))


def hash_bands(fingerprints_nk: np.ndarray) -> np.ndarray:
    """Gives the hash of fingerprints (uint8, (n, 576)), int64 (n, 12) numbers of 16 bits."""
    luma_nfc = (
        _cells(fingerprints_nk).reshape(len(fingerprints_nk), FINGERPRINT_FRAMES, -1, 3) @ _LUMA_WEIGHTS
    )
    brighter_nfc = luma_nfc * FINGERPRINT_CELLS**2 > luma_nfc.sum(axis=2, keepdims=True)
    bits = brighter_nfc.reshape(-1, _LUMA_BITS)[:, _BIT_ORDER].reshape(-1, BANDS, BAND_BITS)
    return bits @ (1 << np.arange(BAND_BITS))


class _FingerprintIndex:
    def __init__(self, fingerprints_nk: np.ndarray, max_distance: float) -> None:
        self._prints_nk = fingerprints_nk
        self._max_distance = max_distance
        self.first_equal_n = _first_equal(fingerprints_nk)
        parts = np.array_split(fingerprints_nk, max(1, len(fingerprints_nk) // 4096))
        self._sum_n = fingerprints_nk.sum(axis=1, dtype=np.int64)
        self._quarters_nq = np.concatenate([_quarters(part) for part in parts])
        self._channels_nc = self._quarters_nq.reshape(len(fingerprints_nk), -1, 3).sum(axis=1, dtype=np.int32)
        self._relative_n = np.concatenate([_relative(_contrast(part)) for part in parts])
        # By band and then by the sum of all cells: the rows that may be near another lie side by side.
        self._bands_nb = np.concatenate([hash_bands(part) for part in parts])
        self._keys_bn = np.ascontiguousarray(((self._bands_nb << _SUM_BITS) + self._sum_n[:, None]).T)
        furthest = max_distance * self._relative_n.max(initial=0.0) + MAX_SHIFT_LEVELS + 0.5
        self._window = min(int(FINGERPRINT_BYTES * furthest) + 1, (1 << _SUM_BITS) - 1)
        self._sorted = [np.empty(0, np.int64) for _ in range(BANDS)]
        self._rows = [np.empty(0, np.int64) for _ in range(BANDS)]

    def add(self, rows: np.ndarray) -> None:
        for band, keys_n in enumerate(self._keys_bn):
            ascending = rows[np.argsort(keys_n[rows], kind="stable")]
            places = np.searchsorted(self._sorted[band], keys_n[ascending])
            self._sorted[band] = np.insert(self._sorted[band], places, keys_n[ascending])
            self._rows[band] = np.insert(self._rows[band], places, ascending)

    def remove(self, rows: np.ndarray) -> None:
        gone_n = np.zeros(len(self._prints_nk), bool)
        gone_n[rows] = True
        for band in range(BANDS):
            stays = ~gone_n[self._rows[band]]
            self._sorted[band], self._rows[band] = self._sorted[band][stays], self._rows[band][stays]

    def near(self, rows: np.ndarray, group_n: np.ndarray) -> Iterator[Pairs]:
        for band in range(BANDS):
            for i, j in self._candidates(band, rows):
                wanted = (i < j) & (group_n[i] != group_n[j])
                i, j = i[wanted], j[wanted]
                for sums_nq in (
                    self._channels_nc,
                    self._quarters_nq,
                ):  # each a closer bound, and a dearer one
                    i, j = self._coarsely_near(i, j, sums_nq)
                met = (self._bands_nb[i, :band] == self._bands_nb[j, :band]).any(axis=1)
                i, j = i[~met], j[~met]
                for start in range(0, len(i), PAIRS_AT_ONCE):
                    part_i, part_j = i[start : start + PAIRS_AT_ONCE], j[start : start + PAIRS_AT_ONCE]
                    apart_p = distance(self._prints_nk[part_i], self._prints_nk[part_j])
                    if (apart_p <= self._max_distance).any():
                        yield part_i[apart_p <= self._max_distance], part_j[apart_p <= self._max_distance]

    def _candidates(self, band: int, rows: np.ndarray) -> Iterator[Pairs]:
        """Indexed rows and `rows` that agree in a band and are about as bright."""
        keys = self._keys_bn[band][rows]
        floor = (keys >> _SUM_BITS) << _SUM_BITS
        low = np.searchsorted(self._sorted[band], np.maximum(keys - self._window, floor))
        last = np.minimum(keys + self._window, floor + (1 << _SUM_BITS) - 1)
        counts = np.searchsorted(self._sorted[band], last, side="right") - low
        ends = np.cumsum(counts)
        start = 0
        while start < len(rows):
            before = ends[start - 1] if start else 0
            stop = max(start + 1, int(np.searchsorted(ends, before + CANDIDATES_AT_ONCE, side="right")))
            piece = slice(start, stop)
            total = int(ends[stop - 1] - before)
            offsets = np.arange(total) - np.repeat(ends[piece] - counts[piece] - before, counts[piece])
            places = np.repeat(low[piece], counts[piece]) + offsets
            yield self._rows[band][places], np.repeat(rows[piece], counts[piece])
            start = stop

    def _coarsely_near(self, i: np.ndarray, j: np.ndarray, sums_nq: np.ndarray) -> Pairs:
        """Drops pairs that differ too much in sums over groups of cells: a lower bound of their distance."""
        shift = _shift(self._sum_n[i] - self._sum_n[j])
        cells = FINGERPRINT_BYTES // sums_nq.shape[1]
        gaps = np.abs(sums_nq[i] - sums_nq[j] - (cells * shift)[:, None]).sum(axis=1, dtype=np.int32)
        relative = (self._relative_n[i] + self._relative_n[j]) / 2
        near = gaps <= self._max_distance * relative * FINGERPRINT_BYTES + 1e-6
        return i[near], j[near]


class _FeatureIndex:
    def __init__(self, features_nd: np.ndarray, min_cosine: float) -> None:
        norms_n = np.linalg.norm(features_nd.astype(np.float32), axis=1)
        steps_nd = features_nd / np.where(norms_n > 0, norms_n, 1)[:, None]
        self._steps_nd = np.round(steps_nd * _FEATURE_STEPS).astype(np.float32)
        self._least = min_cosine * _FEATURE_STEPS**2
        self._outline_nb = _outline(self._steps_nd)
        self.first_equal_n = _first_equal(self._steps_nd.astype(np.int16))
        self._rows = np.empty(0, np.int64)

    def add(self, rows: np.ndarray) -> None:
        self._rows = np.concatenate([self._rows, rows])

    def remove(self, rows: np.ndarray) -> None:
        self._rows = self._rows[~np.isin(self._rows, rows)]

    def near(self, rows: np.ndarray, group_n: np.ndarray) -> Iterator[Pairs]:
        for start in range(0, len(self._rows), _INDEXED_AT_ONCE):
            indexed = self._rows[start : start + _INDEXED_AT_ONCE]
            bounds = self._outline_nb[indexed] @ self._outline_nb[rows].T
            # The margin is for the bound's own rounding.
            first, second = np.nonzero(bounds >= self._least - _FEATURE_STEPS**2 * 1e-4)
            i, j = indexed[first], rows[second]
            wanted = (i < j) & (group_n[i] != group_n[j])
            i, j = i[wanted], j[wanted]
            for part in range(0, len(i), PAIRS_AT_ONCE):
                part_i, part_j = i[part : part + PAIRS_AT_ONCE], j[part : part + PAIRS_AT_ONCE]
                near = np.einsum("pd,pd->p", self._steps_nd[part_i], self._steps_nd[part_j]) >= self._least
                if near.any():
                    yield part_i[near], part_j[near]


def _outline(features_nd: np.ndarray) -> np.ndarray:
    """Short vectors (n, b) whose products are never below those of the features, and rarely far above.

    They are the parts along the features' main directions and the length of what remains, by Cauchy and Schwarz.
    """
    if features_nd.shape[1] <= 2 * _MAIN_DIRECTIONS or len(features_nd) <= _INDEXED_AT_ONCE:
        return features_nd
    some_md = features_nd[:: len(features_nd) // _INDEXED_AT_ONCE].astype(np.float64)
    _, directions_dd = np.linalg.eigh(some_md.T @ some_md)
    main_nb = features_nd @ directions_dd[:, -_MAIN_DIRECTIONS:].astype(np.float32)
    squares_n = np.einsum("nd,nd->n", features_nd, features_nd) - np.einsum("nb,nb->n", main_nb, main_nb)
    return np.concatenate([main_nb, np.sqrt(np.maximum(squares_n, 0))[:, None]], axis=1)


def _first_equal(values_nk: np.ndarray) -> np.ndarray:
    """For each row the first one that equals it."""
    whole = np.ascontiguousarray(values_nk).view(np.dtype((np.void, values_nk[:1].nbytes)))
    _, first, inverse = np.unique(whole.reshape(-1), return_index=True, return_inverse=True)
    return first[inverse]


def _shift(sum_differences: np.ndarray) -> np.ndarray:
    """Gives the change of exposure that is forgiven, in whole levels."""
    levels = np.rint(sum_differences / FINGERPRINT_BYTES)
    return np.clip(levels, -MAX_SHIFT_LEVELS, MAX_SHIFT_LEVELS).astype(np.int16)


def _relative(contrast: np.ndarray) -> np.ndarray:
    return (contrast + CONTRAST_FLOOR) / (USUAL_CONTRAST + CONTRAST_FLOOR)


def _contrast(fingerprints_nk: np.ndarray) -> np.ndarray:
    """Gives the mean absolute difference of neighbouring cells, float64 (n,)."""
    cells = _cells(fingerprints_nk)
    across, down = np.abs(np.diff(cells, axis=3)), np.abs(np.diff(cells, axis=2))
    total = across.sum(axis=(1, 2, 3, 4), dtype=np.int64) + down.sum(axis=(1, 2, 3, 4), dtype=np.int64)
    return total / (across[0].size + down[0].size)


def _quarters(fingerprints_nk: np.ndarray) -> np.ndarray:
    """Sums over the quarters of each frame, by channel, int16 (n, 36)."""
    half = FINGERPRINT_CELLS // 2
    cells = _cells(fingerprints_nk).reshape(-1, FINGERPRINT_FRAMES, 2, half, 2, half, 3)
    return cells.sum(axis=(3, 5), dtype=np.int16).reshape(len(fingerprints_nk), -1)


def _cells(fingerprints_nk: np.ndarray) -> np.ndarray:
    """int16 (n, frame, row, column, channel)."""
    shape = (-1, FINGERPRINT_FRAMES, FINGERPRINT_CELLS, FINGERPRINT_CELLS, 3)
    return fingerprints_nk.astype(np.int16).reshape(shape)
