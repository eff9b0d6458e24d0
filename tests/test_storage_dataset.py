"""Attacks the dataset folder: what is read back is what was committed, tags stay put, bad folders say so."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as checks
from hypothesis import strategies as st

from storage.dataset.builds import INDEX
from storage.dataset.clip_dataset import ClipDataset
from storage.dataset.folder import parse_ref
from storage.dataset.schema import split_of
from storage.dataset.writer import DatasetWriter, Signature
from storage.errors import StorageError
from tests.dataset_rows import SHAPE, clip_ids, clip_row, commit, quarantine_row, source_row


@pytest.fixture(scope="module")
def twenty(tmp_path_factory) -> ClipDataset:
    folder, names = tmp_path_factory.mktemp("twenty"), [f"s{number}" for number in range(20)]
    commit(folder, [clip_row(name) for name in names], sources=map(source_row, names))
    return ClipDataset.open(folder)


def test_rows_come_back_as_they_went_in(tmp_path):
    video = bytes(range(256)) * 300
    clips = [clip_row("a"), clip_row("b", video=video), clip_row("b", 1, video=b"small")]
    rejected = [clip_row("c", video=b"mp4", latents=None, reason="clip_score")]
    sources = [source_row(name) for name in "abcd"]
    assert commit(tmp_path, clips, rejected, [quarantine_row("d")], sources) == "build-0001"

    dataset = ClipDataset.open(tmp_path)
    assert (len(dataset), dataset.latent_shape, dataset.tag) == (3, SHAPE, "build-0001")
    order = [2, 0, 1, 0]
    assert dataset.clips.take(order, ["clip_id"])["clip_id"].to_pylist() == ["b-1", "a-0", "b-0", "a-0"]
    expected = np.stack([clips[index]["latents"] for index in order])
    latents = dataset.clips.tensors(order, "latents")
    assert latents.dtype == np.float16
    np.testing.assert_array_equal(latents, expected)
    assert dataset.clips.videos(order) == [b"small", None, video, None]
    assert dataset.rejected.videos([0]) == [b"mp4"]
    assert dataset.rejected.read(["reason"]).to_pylist() == [{"reason": "clip_score"}]
    assert dataset.quarantine.read().to_pylist() == [quarantine_row("d")]


def test_row_numbers_survive_the_filter(tmp_path):
    names = [f"s{number}" for number in range(60)]
    commit(tmp_path, [clip_row(name) for name in names], sources=map(source_row, names))
    dataset = ClipDataset.open(tmp_path)
    table = dataset.clips.read(["row", "clip_id", "split"], where={"split": ["val"]})
    assert 0 < table.num_rows < 60 and set(table["split"].to_pylist()) == {"val"}
    again = dataset.clips.take(table["row"].to_pylist(), ["clip_id"])
    assert again["clip_id"].to_pylist() == table["clip_id"].to_pylist()
    assert dataset.clips.read(["row"], where={"kind": ["long-videos"]}).num_rows == 0


@checks(deadline=None)  # a busy machine is no failure
@given(st.lists(st.lists(st.integers(0, 19), min_size=1, max_size=7), max_size=9), st.integers(1, 4))
def test_batches_are_those_asked_for_however_far_ahead_they_are_read(twenty, batches, ahead):
    read = list(twenty.clips.take_batches(batches, ["clip_id", "latents"], ahead))
    assert [table["clip_id"].to_pylist() for table in read] == [[f"s{i}-0" for i in b] for b in batches]
    for batch, table in zip(batches, read, strict=True):
        np.testing.assert_array_equal(
            table["latents"].combine_chunks().to_numpy_ndarray(), twenty.clips.tensors(batch, "latents")
        )


def test_a_tag_keeps_its_rows_and_nothing_new_makes_no_tag(tmp_path):
    assert commit(tmp_path, [clip_row("a")], sources=[source_row("a")]) == "build-0001"
    assert commit(tmp_path) == "build-0001"
    assert commit(tmp_path, [clip_row("b")], sources=[source_row("b")]) == "build-0002"
    assert clip_ids(tmp_path) == ["a-0", "b-0"]
    assert clip_ids(f"{tmp_path}@build-0001") == ["a-0"]
    info = ClipDataset.open(tmp_path).info()
    assert info["tags"] == ["build-0001", "build-0002"] and info["clips"] == 2
    json.dumps(info)


def test_a_changed_source_replaces_its_rows_and_a_failing_one_keeps_them(tmp_path):
    names = ["a", "b", "c"]
    commit(tmp_path, [clip_row(n, i) for n in names for i in (0, 1)], sources=map(source_row, names))
    commit(
        tmp_path,
        [clip_row("a", 7)],
        quarantine=[quarantine_row("b")],
        sources=[source_row("a", 2), source_row("b", 2, failed_stage="decode")],
    )
    assert clip_ids(tmp_path) == ["a-7", "b-0", "b-1", "c-0", "c-1"]
    assert ClipDataset.open(tmp_path).quarantine.read().num_rows == 1
    commit(tmp_path, [clip_row("b", 7)], sources=[source_row("b", 3)])
    assert clip_ids(tmp_path) == ["a-7", "b-7", "c-0", "c-1"]
    dataset = ClipDataset.open(tmp_path)
    assert (dataset.quarantine.read().num_rows, dataset.info()["sources"]) == (0, 3)
    with DatasetWriter(tmp_path, SHAPE) as writer:
        assert writer.is_done("b", Signature(3, 1, "c", "s"))
        assert not writer.is_done("b", Signature(2, 1, "c", "s"))


def test_a_second_writer_is_refused(tmp_path):
    with DatasetWriter(tmp_path, SHAPE), pytest.raises(StorageError, match="another build"):
        DatasetWriter(tmp_path, SHAPE).__enter__()
    with DatasetWriter(tmp_path, SHAPE):
        pass


def test_what_cannot_be_opened_says_why_in_one_line(tmp_path):
    def message(ref: object) -> str:
        with pytest.raises(StorageError) as raised:
            ClipDataset.open(ref)
        assert "\n" not in str(raised.value) and str(tmp_path) in str(raised.value)
        return str(raised.value)

    assert "is not a dataset" in message(tmp_path / "nowhere")
    dataset = tmp_path / "set"
    with DatasetWriter(dataset, SHAPE):
        pass
    assert "no finished build" in message(dataset)
    commit(dataset, [clip_row("a")], sources=[source_row("a")])
    assert "build-0001" in message(f"{dataset}@build-0007")
    with pytest.raises(StorageError, match="choose another dataset folder"):
        DatasetWriter(dataset, (8, 4, 2, 2)).__enter__()
    (dataset / INDEX).write_text("{")
    assert INDEX in message(dataset)


def test_parse_ref():
    assert parse_ref("runs/set@build-0001") == (Path("runs/set"), "build-0001")
    assert parse_ref("runs/set") == (Path("runs/set"), None)
    assert parse_ref("a@b/set") == (Path("a@b/set"), None)


def test_the_split_is_a_fair_hash():
    splits = [split_of(f"source {number}") for number in range(4000)]
    assert 0.88 < splits.count("train") / 4000 < 0.92
    assert 0.04 < splits.count("val") / 4000 < 0.06
