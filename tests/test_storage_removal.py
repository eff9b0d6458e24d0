"""Attacks takedown: what is removed stays away, a purge leaves no byte of it, and a kill anywhere is finished later."""

import itertools
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import storage.dataset.builds
import storage.dataset.removal
import storage.dataset.removed
import storage.dataset.tags
import storage.dataset.writer
from storage.dataset.builds import finished_builds
from storage.dataset.clip_dataset import ClipDataset
from storage.dataset.folder import TEXTS, table_path
from storage.dataset.removal import remove
from storage.dataset.removed import REMOVED, removed_rules
from storage.dataset.repair import repair
from storage.dataset.schema import texts_schema
from storage.dataset.tables import open_table, write_rows
from storage.dataset.verify import verify
from storage.dataset.writer import DatasetWriter
from storage.errors import StorageError
from tests.dataset_rows import SHAPE, clip_ids, clip_row, commit, quarantine_row, source_row

PROJECT = Path(__file__).parents[1]
# As Lance keeps them: in the row's own file, packed with others, in a file of its own.
VIDEOS = {
    "gone": random.Random(1).randbytes(5_000),
    "gone2": random.Random(2).randbytes(150_000),
    "gone3": random.Random(3).randbytes(4_500_000),
    "stays": random.Random(4).randbytes(150_000),
}
NC = {"licence": "CC-BY-NC"}


def _texts(folder: Path, captions: list[str]) -> None:
    import lance
    import pyarrow as pa

    schema = texts_schema(2, 3)
    kind = schema.field("states").type
    states = pa.ExtensionArray.from_storage(kind, pa.array([[0.0] * 6 for _ in captions], kind.storage_type))
    columns = [pa.array(captions), pa.array(["t"] * len(captions)), states]
    lance.write_dataset(pa.Table.from_arrays(columns, schema=schema), str(table_path(folder, TEXTS)))


def _before(folder: Path) -> None:
    """Three builds; `gone`, `gone2` and `gone3` are of one licence, `gone` is in the first build in an older form."""
    commit(
        folder,
        [clip_row("gone", video=VIDEOS["gone"], **NC), clip_row("stays", video=VIDEOS["stays"])],
        sources=[source_row("gone") | NC, source_row("stays")],
    )
    with DatasetWriter(folder, SHAPE):
        _texts(folder, [f"caption of {name}" for name in ("gone", "gone2", "gone3", "stays")])
    commit(
        folder,
        [clip_row("gone2", video=VIDEOS["gone2"], **NC), clip_row("rest", duplicate_of="gone2-0")],
        [clip_row("gone3", video=VIDEOS["gone3"], latents=None, encoder=None, reason="clip_score", **NC)],
        [quarantine_row("broken")],
        [
            source_row("gone2") | NC,
            source_row("rest"),
            source_row("gone3") | NC,
            source_row("broken", failed_stage="decode") | {"corpus": "other"},
        ],
    )
    commit(
        folder, [clip_row("gone", 1, **NC)], sources=[source_row("gone", 2) | NC]
    )  # done again: its first row lies in no version after this one


def _files_with(folder: Path, needle: bytes) -> list[str]:
    return [str(path) for path in folder.rglob("*") if path.is_file() and needle in path.read_bytes()]


def _nothing_left(folder: Path) -> None:
    for name in ("gone", "gone2", "gone3"):
        assert _files_with(folder, f"caption of {name}".encode()) == []
        assert _files_with(folder, VIDEOS[name][1000:1600]) == []
    assert _files_with(folder, VIDEOS["stays"][1000:1600])  # or the search would prove nothing


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    _before(folder)
    for name in ("gone", "gone2", "gone3"):
        assert _files_with(folder, f"caption of {name}".encode())
        assert _files_with(folder, VIDEOS[name][1000:1600])
    return folder


@pytest.fixture
def folder(made, tmp_path) -> Path:
    shutil.copytree(made, tmp_path / "set")
    return tmp_path / "set"


def test_a_licence_is_taken_down_and_earlier_builds_keep_it(folder):
    before = len(finished_builds(folder))
    report = remove(folder, licences=["CC-BY-NC"], reason="asked for")
    assert report.tag == f"build-{before + 1:04d}" and report.purged == []
    assert report.rows == {"clips": 2, "rejected": 1, "quarantine": 0, "sources": 3, "texts": 3}
    assert (report.sources, report.similar_sources) == (3, ["rest"])
    assert clip_ids(folder) == ["rest-0", "stays-0"]
    assert "gone-1" in clip_ids(f"{folder}@build-{before:04d}")
    assert open_table(folder, TEXTS).to_table()["caption"].to_pylist() == ["caption of stays"]
    (removal,) = removed_rules(folder).removals
    assert (removal.licences, removal.reason, removal.finished) == (("CC-BY-NC",), "asked for", True)
    problems = [problem.what for problem in verify(folder).problems]
    assert problems == ["has no states of a caption of clips"]  # of `rest`, from the start


def test_rules_are_by_id_licence_and_corpus(folder):
    remove(folder, sources=["gone"], corpora=["other"])
    rules = removed_rules(folder)
    assert rules.is_removed("gone", "CC0-1.0", "walks") and rules.is_removed("new", "CC0-1.0", "other")
    assert not rules.is_removed("gone2", "CC-BY-NC", "walks") and not rules.is_removed("x", None, "walks")
    assert clip_ids(folder) == ["gone2-0", "rest-0", "stays-0"]
    assert ClipDataset.open(folder).quarantine.read().num_rows == 0
    assert not removed_rules(folder.parent)


def test_what_is_asked_for_again_keeps_its_date_and_reason(folder, monkeypatch):
    remove(folder, sources=["gone"], reason="asked for")
    (first,) = removed_rules(folder).removals
    monkeypatch.setattr(storage.dataset.removal, "now", lambda: "2100-01-01T00:00:00+00:00")
    remove(folder, sources=["gone"])
    assert removed_rules(folder).removals == (first,)
    remove(folder, sources=["gone2"])
    assert removed_rules(folder).removals[1].removed_at == "2100-01-01T00:00:00+00:00"


def test_a_source_is_named_by_its_uri_too(folder):
    assert remove(folder, sources=["gone.mp4", "gone2"]).sources == 2
    (removal,) = removed_rules(folder).removals
    assert removal.source_ids == ("gone", "gone2")
    assert clip_ids(folder) == ["rest-0", "stays-0"]
    assert remove(folder, sources=["broken.mp4"]).rows["quarantine"] == 1
    # Only earlier builds still know these.
    report = remove(folder, sources=["gone.mp4", "gone2.mp4"], purge=True)
    assert len(report.purged) == 6 - 1 and removed_rules(folder).removals[-1].purge
    with pytest.raises(StorageError, match=r"nothing of source 'gone\.mp4'"):
        remove(folder, sources=["gone.mp4"])


def test_a_uri_of_several_sources_removes_none(folder):
    other = {"source_uri": "gone.mp4", "corpus": "runs"}
    commit(folder, [clip_row("other", **other)], sources=[source_row("other") | other])
    with pytest.raises(
        StorageError, match=r"'gone\.mp4' is the uri of several .* gone in walks, other in runs"
    ) as raised:
        remove(folder, sources=["stays", "gone.mp4"])
    assert "\n" not in str(raised.value) and not removed_rules(folder)
    remove(folder, sources=["other"])
    assert "gone-1" in clip_ids(folder) and "other-0" not in clip_ids(folder)


def test_a_removed_source_that_is_committed_again_goes_again(folder):
    remove(folder, sources=["gone"])
    with DatasetWriter(folder, SHAPE) as writer:
        assert not writer.knows("gone")
    commit(folder, [clip_row("gone", **NC)], sources=[source_row("gone") | NC])  # by one that asked no rules
    assert [p.what for p in verify(folder).problems if "removed" in p.what]
    repair(folder)
    assert "gone-0" not in clip_ids(folder)
    # Whoever takes the rule back lets the source back in.
    (folder / REMOVED).unlink()
    commit(folder, [clip_row("gone", **NC)], sources=[source_row("gone") | NC])
    with DatasetWriter(folder, SHAPE) as writer:
        assert writer.knows("gone")


@pytest.mark.parametrize(
    ("wish", "named"),
    [
        ({"corpora": ["walks", "wolks"]}, "corpus 'wolks'"),
        ({"sources": ["nobody"]}, "source 'nobody'"),
        ({"licences": ["GPL"], "purge": True}, "licence 'GPL'"),
        ({}, "name the sources"),
    ],
)
def test_what_matches_nothing_is_named_and_nothing_changes(folder, wish, named):
    state = {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != "build.lock"}
    with pytest.raises(StorageError, match=named) as raised:
        remove(folder, **wish)
    assert "\n" not in str(raised.value)
    after = {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != "build.lock"}
    assert after == state


def test_a_removal_waits_for_no_build_and_needs_a_dataset(folder, tmp_path):
    with DatasetWriter(folder, SHAPE), pytest.raises(StorageError, match="another"):
        remove(folder, sources=["gone"])
    with pytest.raises(StorageError, match="is not a dataset"):
        remove(tmp_path / "nowhere", sources=["gone"])
    assert not (tmp_path / "nowhere").exists()


def test_a_purge_leaves_no_byte(folder):
    write_rows(
        folder, "clips", [clip_row("gone", 9, video=VIDEOS["gone2"])]
    )  # a killed worker's, uncommitted
    tags = [build.tag for build in finished_builds(folder)]
    report = remove(folder, licences=["CC-BY-NC"], purge=True)
    assert report.purged == tags
    _nothing_left(folder)
    assert clip_ids(folder) == ["rest-0", "stays-0"]
    dataset = ClipDataset.open(folder)
    rows = dataset.clips.read(["row", "clip_id"]).to_pylist()
    stays = next(row["row"] for row in rows if row["clip_id"] == "stays-0")
    assert dataset.clips.videos([stays]) == [VIDEOS["stays"]]
    assert dataset.info()["tags"] == [report.tag]
    with pytest.raises(StorageError, match="was purged"):
        ClipDataset.open(f"{folder}@{tags[0]}")
    assert commit(folder, [clip_row("new")], sources=[source_row("new")]) == f"build-{len(tags) + 2:04d}"


def test_a_purge_may_come_later_and_for_what_only_earlier_builds_hold(folder):
    remove(folder, licences=["CC-BY-NC"])
    assert _files_with(folder, VIDEOS["gone2"][1000:1600])
    remove(folder, licences=["CC-BY-NC"], purge=True)
    _nothing_left(folder)
    (removal,) = removed_rules(folder).removals
    assert removal.purge and removal.finished


def test_a_value_that_only_an_earlier_build_holds_can_be_purged(folder):
    changed = {"licence": "CC-BY-4.0"}
    names = ["gone", "gone2", "gone3"]
    rejected = [clip_row("gone3", 5, reason="clip_score", **changed)]
    rows = [clip_row(name, 5, caption="new", **changed) for name in names[:2]]
    commit(folder, rows, rejected, sources=[source_row(name, 7) | changed for name in names])
    with pytest.raises(StorageError, match="CC-BY-NC"):
        remove(folder, licences=["CC-BY-NC"])
    remove(folder, licences=["CC-BY-NC"], purge=True)
    assert clip_ids(folder) == ["gone-5", "gone2-5", "rest-0", "stays-0"]
    for name in names:
        assert _files_with(folder, VIDEOS[name][1000:1600]) == []


STEPS = {
    storage.dataset.removed: ["write_json"],
    storage.dataset.builds: ["write_json"],
    storage.dataset.tags: ["set_tag", "drop_unnamed_tags"],
    storage.dataset.writer: ["commit_rows"],
    storage.dataset.removal: ["commit_rows", "rewrite_deleted", "clean"],
}
"""Where a purge changes something on disk."""
NUM_STEPS = 26


def before_steps(
    end: Callable[[int], None], replace: Callable[[object, str, object], None] = setattr
) -> None:
    """Call `end` with 1, 2, 3... before each of the steps; `replace` sets an attribute."""
    count = itertools.count(1)

    def counted(function):
        def call(*args, **kwargs):
            end(next(count))
            return function(*args, **kwargs)

        return call

    for module, names in STEPS.items():
        for name in names:
            replace(module, name, counted(getattr(module, name)))


class _Cut(BaseException):
    """Nothing catches it, so it ends a command where it stands, as a kill would, and much quicker."""


def _finish_and_check(folder: Path, was_on_record: bool) -> None:
    assert "stays-0" in clip_ids(folder)
    if was_on_record:
        assert any("was cut off" in problem.what for problem in verify(folder).problems)
        remove(folder, licences=["CC-BY-NC"])  # that it was to purge is on record as well
    else:
        remove(folder, licences=["CC-BY-NC"], purge=True)
    _nothing_left(folder)
    assert clip_ids(folder) == ["rest-0", "stays-0"]
    newest = finished_builds(folder)[-1]
    assert [build.tag for build in finished_builds(folder) if not build.purged] == [newest.tag]
    assert [p.what for p in verify(folder).problems] == ["has no states of a caption of clips"]


def test_the_steps_are_counted(folder, monkeypatch):
    steps = []
    before_steps(steps.append, monkeypatch.setattr)
    remove(folder, licences=["CC-BY-NC"], purge=True)
    assert steps[-1] == NUM_STEPS


@pytest.mark.parametrize("fatal", range(1, NUM_STEPS + 1))
def test_what_was_cut_off_between_any_two_steps_is_finished_by_running_it_again(folder, monkeypatch, fatal):
    def cut(step: int) -> None:
        if step == fatal:
            raise _Cut

    with monkeypatch.context() as patched:
        before_steps(cut, patched.setattr)
        with pytest.raises(_Cut):
            remove(folder, licences=["CC-BY-NC"], purge=True)
    _finish_and_check(folder, was_on_record=fatal > 1)


SCRIPT = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from storage.dataset.removal import remove
from tests.test_storage_removal import before_steps
before_steps(lambda step: os.kill(os.getpid(), signal.SIGKILL) if step == int(sys.argv[2]) else None)
remove(Path(sys.argv[1]), licences=["CC-BY-NC"], purge=True)
"""


@pytest.mark.parametrize("fatal", [4, NUM_STEPS - 3])
def test_a_real_kill_is_finished_by_running_it_again(folder, fatal):
    killed = subprocess.run([sys.executable, "-c", SCRIPT, str(folder), str(fatal), str(PROJECT)])
    assert killed.returncode == -signal.SIGKILL
    _finish_and_check(folder, was_on_record=True)
