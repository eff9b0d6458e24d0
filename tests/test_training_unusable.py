"""Attacks the search for clips whose stored numbers are not finite: every bit pattern, every column, too many."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from storage.dataset.clip_dataset import ClipDataset
from tasks.errors import RequestError
from tasks.training.splits import _not_finite, split_clips, unusable_clips
from tests.training_dataset import write_training_dataset

BROKEN = ["clip-0003", "clip-0012"]  # one of those to train on, one of the held-out


@pytest.fixture(scope="module")
def broken(tmp_path_factory, tiny_profile) -> ClipDataset:
    folder = tmp_path_factory.mktemp("broken") / "d"
    write_training_dataset(folder, Path(tiny_profile.model), 12, 8, 1, broken=BROKEN)
    return ClipDataset.open(folder)


def test_they_are_found_and_no_split_holds_them(broken):
    found = unusable_clips(broken)
    assert found.clip_ids == BROKEN and "clip-0003, clip-0012" in (found.note or "")
    split = split_clips(broken, left_out=found.rows)
    assert not {clip.clip_id for clip in (*split.train, *split.heldout)} & set(BROKEN)
    assert (len(split.train), len(split.heldout)) == (12, 7)
    assert split.heldout_source == "split val"  # one less does not make another hold-out of it
    assert len(split_clips(broken, videos_only=True, left_out=found.rows).train) == 11


def test_nothing_is_left_out_of_what_is_whole(training_clips):
    found = unusable_clips(ClipDataset.open(training_clips))
    assert (found.rows, found.clip_ids, found.note) == ([], [], None)


def test_too_many_of_them_are_refused(tmp_path, tiny_profile):
    ids = [f"clip-{number:04d}" for number in range(3)]
    folder = write_training_dataset(tmp_path / "d", Path(tiny_profile.model), 12, 8, 0, broken=ids)
    with pytest.raises(
        RequestError, match=r"3 of 20 clips are not finite \(clip-0000, clip-0001, clip-0002\)"
    ):
        unusable_clips(ClipDataset.open(folder))


@given(arrays.arrays(np.uint16, (3, 4), elements=st.integers(0, 2**16 - 1)), st.integers(0, 3))
def test_every_pattern_of_bits_is_known_for_what_it_is(bits, missing):
    values = bits.view(np.float16)
    rows = [None if number == missing else row for number, row in enumerate(values)]
    kind = pa.fixed_shape_tensor(pa.float16(), (2, 2))
    stored = pa.array(rows, pa.list_(pa.float16(), 4))
    column = pa.chunked_array([pa.ExtensionArray.from_storage(kind, stored)])
    wanted = ~np.isfinite(values).all(axis=1) | (np.arange(3) == missing)
    assert _not_finite(column).tolist() == wanted.tolist()
