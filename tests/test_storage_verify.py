"""Attacks verify: every kind of damage is found and named, a sound dataset gives none, and repair loses no row."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.dataset.builds import INDEX, finished_builds, write_index
from storage.dataset.folder import TEXTS, table_path
from storage.dataset.repair import repair
from storage.dataset.schema import texts_schema
from storage.dataset.tables import commit_rows, open_table, write_rows
from storage.dataset.verify import verify
from storage.dataset.writer import DatasetWriter
from storage.errors import StorageError
from tasks.clips.check import video_problem
from tasks.clips.video_io import encode_lossless_ish
from tests.dataset_rows import SHAPE, clip_ids, clip_row, commit, quarantine_row, source_row

PROJECT = Path(__file__).parents[1]
MP4 = encode_lossless_ish(np.full((SHAPE[0], 48, 64, 3), 90, np.uint8), 8.0)


def _sound(folder: Path) -> None:
    """Two builds: kept, rejected with and without latents, quarantined."""
    sources = [source_row("a"), source_row("b") | {"clips": 2}, source_row("q", failed_stage="decode")]
    clips = [clip_row("a"), clip_row("b", video=MP4, latents_std=np.ones(SHAPE, np.float16))]
    rejected = [clip_row("b", 1, video=MP4, latents=None, encoder=None, reason="clip_score")]
    commit(folder, clips, rejected, [quarantine_row("q")], sources)
    commit(folder, [clip_row("c")], sources=[source_row("c")])


def _found(folder: Path, **options) -> list[str]:
    report = verify(folder, check_video=video_problem, **options)
    assert report.problem_count == len(report.problems)
    return [f"{p.table} {p.row} {p.id}: {p.what}" for p in report.problems]


def test_a_sound_dataset_has_no_problem_and_nothing_to_repair(tmp_path):
    _sound(tmp_path)
    report = verify(tmp_path, check_video=video_problem)
    assert report.problems == [] and report.tag == "build-0002" and report.videos == 2
    assert report.rows == {"sources": 4, "quarantine": 1, "clips": 3, "rejected": 1}
    assert verify(tmp_path, "build-0001").rows["clips"] == 2
    assert repair(tmp_path) == [] and len(finished_builds(tmp_path)) == 2
    with pytest.raises(StorageError, match="build-0009"):
        verify(tmp_path, "build-0009")
    with pytest.raises(StorageError, match="is not a dataset"):
        repair(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


_NAN_LATENTS = np.full(SHAPE, np.nan, np.float16)
BROKEN_ROWS = {
    "kind is 'films'": {"kind": "films"},
    "split is None": {"split": None},
    "caption is empty": {"caption": ""},
    "encoder is empty": {"encoder": None},
    "source_digest is empty": {"source_digest": None},
    "num_frames is 3": {"num_frames": 3},
    "fps is not above 0": {"fps": 0.0},
    "fps is missing": {"fps": None},
    "start_s is -1": {"start_s": -1.0},
    "clip_score is not finite": {"clip_score": float("nan")},
    "clip_score is missing": {"clip_score": None},
    "motion is not finite": {"motion": float("inf")},
    "source_width is 0": {"source_width": 0},
    "params is not JSON": {"params": "{"},
    "latents are not all finite": {"latents": _NAN_LATENTS},
    "latents is missing": {"latents": None},
    "latents_std are not all finite": {"latents_std": _NAN_LATENTS},
    "clip_features are not all finite": {"clip_features": np.array([0, np.nan], np.float16)},
    "its video has 4 frames, not 5": {"video": MP4, "num_frames": 5},
    "its video is broken": {"video": MP4[: len(MP4) // 2]},
    "clip_id is also that of row 0 of clips": {"clip_id": "fine-0"},
    "is of split": {"source_id": "fine", "split": "val"},
    "does not know its source nobody": {"source_id": "nobody"},
    "clips of more than one encoder: other (1), v (1)": {"encoder": "other"},
    "clips of more than one scorer: c (1), other (1)": {"scorer": "other"},
}


@pytest.mark.parametrize(("what", "damage"), BROKEN_ROWS.items(), ids=BROKEN_ROWS.keys())
def test_a_broken_row_is_named(tmp_path, what, damage):
    rows = [clip_row("fine", split="train"), clip_row("bad") | damage]
    sources = [source_row("fine") | {"clips": 2 if damage.get("source_id") == "fine" else 1}]
    commit(tmp_path, rows, sources=[*sources, *([source_row("bad")] if "source_id" not in damage else [])])
    found = _found(tmp_path)
    whole_table = what.startswith("clips of")
    where = "clips None None" if whole_table else f"clips 1 {rows[1]['clip_id']}"
    assert any(line.startswith(where) and what in line for line in found), found


def test_what_does_not_fit_between_tables_is_named(tmp_path):
    commit(
        tmp_path,
        [clip_row("a")],
        [clip_row("a", reason="")],
        [quarantine_row("a"), quarantine_row("ghost")],
        [
            source_row("a") | {"clips": 3},
            source_row("empty"),
            source_row("lost", failed_stage="read"),
            source_row("x") | {"kind": "k"},
        ],
    )
    found = _found(tmp_path)
    assert "rejected 0 a-0: reason is empty" in found
    assert "rejected 0 a-0: clip_id is also that of row 0 of clips" in found
    assert "quarantine 0 a: the ledger says that its source went through" in found
    assert "quarantine 1 ghost: the ledger does not know its source" in found
    assert "sources None a: the ledger counts 3 clips, the tables have 2" in found
    assert "sources None empty: has no clips and no failure" in found
    assert "sources None lost: failed, but is not in quarantine" in found
    assert any(line.startswith("sources 3 x: kind is 'k'") for line in found)


def test_texts_that_do_not_cover_the_captions_are_named(tmp_path):
    import lance
    import pyarrow as pa

    schema = texts_schema(2, 3)
    states = pa.ExtensionArray.from_storage(
        schema.field("states").type, pa.array([[0.0] * 6] * 3, schema.field("states").type.storage_type)
    )
    captions = ["caption of a", "caption of a", "caption of nobody"]
    table = pa.Table.from_arrays([pa.array(captions), pa.array(["t"] * 3), states], schema=schema)
    with DatasetWriter(tmp_path, SHAPE):
        lance.write_dataset(table, str(table_path(tmp_path, TEXTS)))
    commit(tmp_path, [clip_row("a"), clip_row("b")], sources=[source_row("a"), source_row("b")])
    assert _found(tmp_path) == [
        "texts None caption of b: has no states of a caption of clips",
        "texts 1 caption of a: caption is also that of row 0",
    ]


def test_lost_and_moved_tags_are_found_and_set_again(tmp_path):
    _sound(tmp_path)
    clips, rejected = open_table(tmp_path, "clips"), open_table(tmp_path, "rejected")
    clips.tags.delete("build-0001")
    clips.tags.update("build-0002", finished_builds(tmp_path)[0].versions["clips"])
    rejected.tags.create("stray", 1)
    (tmp_path / "removed.partial").write_text("{")
    found = _found(tmp_path)
    assert len(found) == 4
    assert any("has no tag build-0001" in line for line in found)
    assert any("tag build-0002 names version" in line for line in found)
    assert "rejected None None: tag stray is of no finished build" in found
    assert any(line.startswith("removed.partial") for line in found)
    assert len(repair(tmp_path)) == 4
    assert _found(tmp_path) == [] and repair(tmp_path) == []


def test_a_version_that_is_gone_is_named_and_does_not_stop_the_repair(tmp_path):
    _sound(tmp_path)
    clips = open_table(tmp_path, "clips")
    clips.tags.delete("build-0001")
    clips.cleanup_old_versions(retain_versions=1, error_if_tagged_old_versions=False, delete_unverified=True)
    (line,) = _found(tmp_path)
    assert line.startswith("clips None None: version") and "build-0001 is gone" in line
    assert repair(tmp_path) == []
    assert any("build-0001 is gone" in line for line in _found(tmp_path, tag="build-0001"))


def test_orphans_and_doubles_of_a_finished_build_are_mended_in_a_new_one(tmp_path):
    _sound(tmp_path)
    with DatasetWriter(tmp_path, SHAPE) as writer:
        commit_rows(tmp_path, "clips", write_rows(tmp_path, "clips", [clip_row("ghost"), clip_row("a")]))
        commit_rows(tmp_path, "rejected", write_rows(tmp_path, "rejected", [clip_row("c", reason="motion")]))
        writer.finish({})
    assert len(_found(tmp_path)) >= 3
    assert clip_ids(tmp_path) == ["a-0", "a-0", "b-0", "c-0", "ghost-0"]
    done = repair(tmp_path)
    assert done[-1].startswith("build-0004: ") and _found(tmp_path) == []
    assert clip_ids(tmp_path) == ["a-0", "b-0", "c-0"]
    assert clip_ids(f"{tmp_path}@build-0003") == ["a-0", "a-0", "b-0", "c-0", "ghost-0"]


def test_a_lost_ledger_is_no_licence_to_drop_rows(tmp_path):
    _sound(tmp_path)
    shutil.rmtree(table_path(tmp_path, "sources"))
    with pytest.raises(StorageError, match="ledger"):
        repair(tmp_path)
    assert any(line.startswith("sources ") for line in _found(tmp_path))
    assert open_table(tmp_path, "clips").count_rows() == 3


SCRIPT = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
import storage.dataset.builds, storage.dataset.tags, storage.local.json_files
from tests.test_storage_verify import _sound
from tests.dataset_rows import clip_row, commit, source_row
folder, fatal = Path(sys.argv[1]), int(sys.argv[2])
_sound(folder)
set_tag, calls = storage.dataset.tags.set_tag, 0
def tag_or_die(*args):
    global calls
    calls += 1
    if calls == fatal:
        os.kill(os.getpid(), signal.SIGKILL)
    set_tag(*args)
storage.dataset.tags.set_tag = tag_or_die
# Path.replace is the step between a whole partial index and the index.
Path.replace = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
commit(folder, [clip_row("d")], sources=[source_row("d")])
"""


@pytest.mark.parametrize("fatal", [1, 2, 4, 5])
def test_a_kill_between_the_tags_and_the_index_is_repaired(tmp_path, fatal):
    killed = subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path), str(fatal), str(PROJECT)])
    assert killed.returncode == -signal.SIGKILL
    assert clip_ids(tmp_path) == ["a-0", "b-0", "c-0"]  # readers see the last finished build
    if fatal > 1:  # before the first tag nothing says that the build was at its end
        assert _found(tmp_path)
    repair(tmp_path)
    assert _found(tmp_path) == [] and not list(tmp_path.glob("*.partial"))
    assert clip_ids(tmp_path) == (["a-0", "b-0", "c-0", "d-0"] if fatal > 1 else ["a-0", "b-0", "c-0"])
    assert commit(tmp_path) == "build-0003" and "d-0" in clip_ids(tmp_path)
    assert _found(tmp_path) == []


@pytest.fixture(scope="module")
def sound_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    _sound(folder)
    return folder


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_damaged_files_give_a_report_or_one_line_never_another_error(sound_folder, tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damaged") / "set"
    shutil.copytree(sound_folder, folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
    path = data.draw(st.sampled_from(files))
    content = bytearray(path.read_bytes())
    start = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content = content[:start]
    else:
        junk = data.draw(st.binary(min_size=1, max_size=64))
        content[start : start + len(junk)] = junk
    path.write_bytes(content)
    try:
        report = verify(folder, check_video=video_problem)
    except StorageError as error:
        assert "\n" not in str(error)
    else:
        json.dumps([vars(problem) for problem in report.problems])


def test_more_problems_than_are_listed_are_counted(tmp_path):
    rows = [clip_row("a", number, caption="") for number in range(1100)]
    commit(tmp_path, rows, sources=[source_row("a") | {"clips": 1100}])
    report = verify(tmp_path)
    assert (report.problem_count, len(report.problems)) == (1100, 1000)


def test_an_index_that_names_nothing_there_is_reported(tmp_path):
    _sound(tmp_path)
    builds = finished_builds(tmp_path)
    builds[-1].versions["clips"] = 99
    write_index(tmp_path, builds)
    assert any("version 99 of build-0002 is gone" in line for line in _found(tmp_path))
    (tmp_path / INDEX).unlink()
    with pytest.raises(StorageError, match="no finished build"):
        verify(tmp_path)
