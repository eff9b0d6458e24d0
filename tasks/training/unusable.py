"""Clips that can be neither trained on nor measured with: those whose stored numbers are not all finite."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tasks.errors import RequestError

if TYPE_CHECKING:
    import pyarrow as pa

    from storage.dataset.clip_dataset import ClipDataset

MAX_SHARE = 0.1
"""More of such clips come from an encoder that is broken, not from a fault here and there."""

_NAMED = 16
_ROWS_AT_ONCE = 256
_EXPONENT_OF_FLOAT16 = 0x7C00


@dataclass(frozen=True)
class Unusable:
    """The clips that a training leaves out, by their rows in the table and by their ids."""

    rows: list[int]
    clip_ids: list[str]

    @property
    def note(self) -> str | None:
        """One line that names them; None where there are none."""
        if not self.rows:
            return None
        return f"left out, since their stored numbers are not finite: {named(self.clip_ids)}"


def named(clip_ids: list[str]) -> str:
    """The first few ids, and how many more there are."""
    more = f" and {len(clip_ids) - _NAMED} more" if len(clip_ids) > _NAMED else ""
    return f"{', '.join(clip_ids[:_NAMED])}{more}"


def unusable_clips(dataset: ClipDataset, text_states: bool = False) -> Unusable:
    """The clips whose latents, their deviations or, with `text_states`, their caption's states are not finite.

    One pass over these columns of the whole build. Raises RequestError when they are more than `MAX_SHARE` of all.
    """
    from storage.dataset.scan import batches

    columns = ["latents", "latents_std"] if dataset.has_latents_std else ["latents"]
    found: list[int] = []
    for table in batches(dataset, "clips", columns, _ROWS_AT_ONCE):
        bad = np.zeros(table.num_rows, bool)
        for name in columns:
            bad |= _not_finite(table[name])
        found += table["row"].to_numpy()[bad].tolist()
    clips = dataset.clips_table(["clip_id", "caption"])
    if text_states:
        captions = _captions_without_states(dataset)
        found = sorted(
            {*found, *(i for i, text in enumerate(clips["caption"].to_pylist()) if text in captions)}
        )
    all_ids = clips["clip_id"]
    ids = [all_ids[row].as_py() for row in found]
    if len(found) > MAX_SHARE * clips.num_rows:
        raise RequestError(
            f"dataset: {dataset.folder}@{dataset.tag}: the stored numbers of {len(found)} of {clips.num_rows} clips "
            f"are not finite ({named(ids)}); build it again, or take these clips out with vidrd dataset remove"
        )
    return Unusable(found, ids)


def _captions_without_states(dataset: ClipDataset) -> set[str]:
    from storage.dataset.scan import batches
    from storage.dataset.schema import TEXTS

    return {
        caption
        for table in batches(dataset, TEXTS, ["caption", "states"], _ROWS_AT_ONCE)
        for caption, bad in zip(table["caption"].to_pylist(), _not_finite(table["states"]), strict=True)
        if bad
    }


def _not_finite(column: pa.ChunkedArray) -> np.ndarray:
    """Which tensors (float16) of a column are missing or hold an infinity or a NaN, bool (rows,)."""
    tensors = column.combine_chunks()
    bad = tensors.is_null().to_numpy(zero_copy_only=False)
    there = np.flatnonzero(~bad)
    if len(there):
        values = tensors.storage.flatten().to_numpy(zero_copy_only=False).reshape(len(there), -1)
        # Five times as fast as isfinite, which knows no vectors of float16.
        exponents = values.view(np.uint16) & _EXPONENT_OF_FLOAT16
        bad[there] = (exponents == _EXPONENT_OF_FLOAT16).any(axis=1)
    return bad
