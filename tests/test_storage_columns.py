"""Columns that came later: tables of earlier versions read as without them, and get them before a row is written."""

from pathlib import Path

import pytest

from storage.dataset.clip_dataset import ClipDataset
from storage.dataset.columns import CLIP_ID, NUDITY, REASON, TEXT_AREA
from storage.dataset.compaction import compact
from storage.dataset.schema import LATER_COLUMNS
from storage.dataset.tables import RowRef
from storage.dataset.verify import verify
from storage.dataset.writer import DatasetWriter
from tasks.ingest.rewriting import Rewrite, rewrite_rows
from tests.build_world import all_rows
from tests.dataset_rows import clip_row, commit
from tests.earlier_version import unpack


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """A dataset of a version that knew none of these columns."""
    dataset = unpack("bd6a85b", tmp_path).dataset
    assert not LATER_COLUMNS & set(ClipDataset.open(dataset).clips.names)
    return dataset


def test_they_read_as_null_before_they_are_there(earlier):
    clips = ClipDataset.open(earlier).clips
    read = [row for batch in clips.batches([CLIP_ID, TEXT_AREA], fill=True) for row in batch.to_pylist()]
    assert len(read) == clips.count_rows() > 0 and all(row[TEXT_AREA] is None for row in read)
    assert clips.take([0], [CLIP_ID, NUDITY], fill=True).to_pylist()[0][NUDITY] is None


def test_a_row_that_is_written_again_brings_them_and_no_other_value_changes(earlier):
    before, clip_id = all_rows(earlier), ""
    with DatasetWriter.reopen(earlier) as writer:
        writer.complete_columns()
        version = writer.table("clips").version
        writer.complete_columns()
        assert writer.table("clips").version == version, "nothing is lacking any more"
        clip_id = writer.table("clips").take([3], [CLIP_ID])[CLIP_ID][0].as_py()
        changes = {REASON: TEXT_AREA, TEXT_AREA: 0.25}
        done = rewrite_rows([Rewrite(clip_id, RowRef(earlier, "clips", version, 3), changes)])
        writer.rewrite(done.group)
        writer.finish({})
    after = all_rows(earlier)
    assert after[clip_id]["text_area"] == 0.25 and after[clip_id]["reason"] == "text_area"
    for name, row in after.items():
        later = {column: row.pop(column) for column in LATER_COLUMNS}
        assert all(value is None for column, value in later.items() if (name, column) != (clip_id, TEXT_AREA))
        assert row | {"reason": None} == before[name]
    assert all_rows(f"{earlier}@build-0001") == before
    assert verify(earlier).problem_count == 0
    compact(earlier)
    assert all_rows(earlier)[clip_id]["text_area"] == 0.25 and verify(earlier).problem_count == 0


def test_a_row_of_today_that_names_none_of_them_has_none(tmp_path):
    commit(tmp_path / "d", [clip_row("a"), clip_row("b", text_area=0.5)])
    assert [all_rows(tmp_path / "d")[name]["text_area"] for name in ("a-0", "b-0")] == [None, 0.5]


def test_a_value_that_is_no_number_is_named(tmp_path):
    commit(tmp_path / "d", [clip_row("a", video=None, nudity=float("nan"))])
    assert "nudity is not finite" in {problem.what for problem in verify(tmp_path / "d").problems}
