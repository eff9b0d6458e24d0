"""Attacks compaction: the same rows in the same order, tags untouched, disk freed, cut off and done again."""

import pytest

import storage.dataset.compaction
from storage.dataset.builds import finished_builds
from storage.dataset.clip_dataset import ClipDataset
from storage.dataset.compaction import compact
from storage.dataset.folder import table_path
from storage.dataset.tables import commit_rows, open_table, write_rows
from storage.dataset.verify import verify
from storage.dataset.writer import DatasetWriter
from storage.errors import StorageError
from tests.dataset_rows import SHAPE, clip_ids, clip_row, commit, source_row

GROUPS = 12


@pytest.fixture
def folder(tmp_path):
    """Two builds of many small groups, a row of one replaced."""
    for half in (range(GROUPS // 2), range(GROUPS // 2, GROUPS)):
        with DatasetWriter(tmp_path, SHAPE) as writer:
            for number in half:
                names = [f"{number:02d}{letter}" for letter in "ab"]
                rows = [clip_row(name, video=name.encode() * 1000) for name in names]
                commit_rows(tmp_path, "clips", write_rows(tmp_path, "clips", rows))
                commit_rows(
                    tmp_path, "sources", write_rows(tmp_path, "sources", list(map(source_row, names)))
                )
            writer.finish({})
    return tmp_path


def _content(ref: object) -> list[tuple]:
    """All clips in table order, with what each column family holds."""
    dataset = ClipDataset.open(ref)
    ids = dataset.clips.read(["clip_id"])["clip_id"].to_pylist()
    rows = range(len(ids))
    latents = (latents_nchw.tobytes() for latents_nchw in dataset.clips.tensors(rows, "latents"))
    return list(zip(ids, latents, dataset.clips.videos(rows), strict=True))


def test_the_same_rows_in_the_same_order_in_one_fragment(folder):
    before = _content(folder)
    report = compact(folder)
    assert report.fragments_before["clips"] == GROUPS and report.fragments["clips"] == 1
    assert report.tag == "build-0003" and _content(folder) == before
    assert _content(f"{folder}@build-0002") == before
    assert len(clip_ids(f"{folder}@build-0001")) == GROUPS
    assert verify(folder).problems == []
    # Again there is nothing to do, and a build that changes nothing makes no tag.
    assert compact(folder).tag == "build-0003" and commit(folder) == "build-0003"


def test_versions_of_no_build_go_and_tagged_ones_stay(folder):
    clips = open_table(folder, "clips")
    clips.tags.delete("build-0001")  # lost; the index still says which version it is
    compact(folder, keep_days=0)
    versions = {version["version"] for version in open_table(folder, "clips").versions()}
    assert versions == {build.versions["clips"] for build in finished_builds(folder)}
    assert len(clip_ids(f"{folder}@build-0001")) == GROUPS


def test_versions_are_kept_for_some_days(folder):
    versions = {version["version"] for version in open_table(folder, "clips").versions()}
    compact(folder)
    assert versions < {version["version"] for version in open_table(folder, "clips").versions()}


def test_earlier_builds_go_only_when_told(folder):
    before = _content(folder)
    report = compact(folder, newest_only=True)
    assert report.forgotten == ["build-0001", "build-0002"] and _content(folder) == before
    assert report.bytes["clips"] < report.bytes_before["clips"]
    assert len(list((table_path(folder, "clips") / "data").glob("*.lance"))) == 1
    with pytest.raises(StorageError, match="was purged"):
        ClipDataset.open(f"{folder}@build-0001")


def test_deleted_rows_are_rewritten_away(folder):
    commit(folder, [clip_row("03a", 5)], sources=[source_row("03a", 2)])
    ids = clip_ids(folder)
    compact(folder)
    assert clip_ids(folder) == ids and "03a-5" in ids and "03a-0" not in ids
    assert [part.num_deletions for part in open_table(folder, "clips").get_fragments()] == [0]


def test_a_full_fragment_is_left_alone(folder, monkeypatch):
    monkeypatch.setattr(storage.dataset.compaction, "ROWS_PER_FRAGMENT", 8)
    compact(folder)
    full = {part.fragment_id for part in open_table(folder, "clips").get_fragments()}
    before = _content(folder)
    commit(folder, [clip_row("new"), clip_row("new2")], sources=map(source_row, ["new", "new2"]))
    compact(folder)
    assert full <= {part.fragment_id for part in open_table(folder, "clips").get_fragments()}
    ids = ClipDataset.open(folder).clips.read(["clip_id"])["clip_id"].to_pylist()
    assert ids == [*(entry[0] for entry in before), "new-0", "new2-0"]


def test_a_build_that_was_cut_off_gets_no_tag_by_it(folder):
    with DatasetWriter(folder, SHAPE):
        for table, rows in (("clips", [clip_row("new")]), ("sources", [source_row("new")])):
            commit_rows(folder, table, write_rows(folder, table, rows))
    assert compact(folder).tag is None
    assert len(finished_builds(folder)) == 2 and "new-0" not in clip_ids(folder)
    with pytest.raises(StorageError, match="cut off"):
        compact(folder, newest_only=True)
    assert commit(folder) == "build-0003" and "new-0" in clip_ids(folder)
    assert verify(folder).problems == []


class _Cut(BaseException):
    """Ends a command where it stands, as a kill would."""


@pytest.mark.parametrize("step", ["join_small", "set_missing_tags", "clean"])
def test_what_was_cut_off_is_finished_by_running_it_again(folder, monkeypatch, step):
    before = _content(folder)
    function, calls = getattr(storage.dataset.compaction, step), []

    def cut(*args):
        calls.append(args)
        if len(calls) == 2 or step == "set_missing_tags":
            raise _Cut
        return function(*args)

    with monkeypatch.context() as patched:
        patched.setattr(storage.dataset.compaction, step, cut)
        with pytest.raises(_Cut):
            compact(folder)
    assert _content(folder) == before
    assert compact(folder, keep_days=0).tag == "build-0003"
    assert _content(folder) == before and verify(folder).problems == []
    assert [part.count_rows() for part in open_table(folder, "clips").get_fragments()] == [2 * GROUPS]


def test_it_needs_a_dataset_that_nobody_writes_to(folder, tmp_path):
    with DatasetWriter(folder, SHAPE), pytest.raises(StorageError, match="another"):
        compact(folder)
    with pytest.raises(StorageError, match="is not a dataset"):
        compact(tmp_path / "nowhere")
