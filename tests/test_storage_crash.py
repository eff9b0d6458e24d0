"""Attacks the order of commits: after a kill at any commit point the next run repairs the dataset."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from storage.dataset.clip_dataset import ClipDataset
from storage.dataset.tables import write_rows
from storage.dataset.writer import DatasetWriter, Signature, SourceGroup
from tests.dataset_rows import SHAPE, clip_ids, clip_row, quarantine_row, source_row

PROJECT = Path(__file__).parents[1]

# Two sources done before, one of them changed since, one new, one broken; killed before its n-th commit.
SCRIPT = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
import storage.dataset.builds, storage.dataset.writer
from tests.dataset_rows import SHAPE, clip_row, commit, quarantine_row, source_row
folder, fatal = Path(sys.argv[1]), int(sys.argv[2])
commit(folder, [clip_row("old"), clip_row("same")], sources=[source_row("old"), source_row("same")])

calls = 0
def before_call(function):
    def call(*args, **kwargs):
        global calls
        calls += 1
        if calls == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)
    return call

storage.dataset.writer.commit_rows = before_call(storage.dataset.writer.commit_rows)
storage.dataset.builds.write_json = before_call(storage.dataset.builds.write_json)
from storage.dataset.tables import write_rows
with storage.dataset.writer.DatasetWriter(folder, SHAPE) as writer:
    writer.commit(storage.dataset.writer.SourceGroup(
        [source_row("old", 2), source_row("new"), source_row("bad", failed_stage="decode")],
        [quarantine_row("bad")],
        write_rows(folder, "clips", [clip_row("old", 1), clip_row("new")]),
        write_rows(folder, "rejected", [clip_row("new", 1, reason="clip_score")]),
    ))
    writer.finish({})
"""


@pytest.mark.parametrize("fatal", [1, 2, 3, 4, 5])
def test_a_kill_at_any_commit_point_is_repaired(tmp_path, fatal):
    killed = subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path), str(fatal), str(PROJECT)])
    assert killed.returncode == -signal.SIGKILL
    # Readers still see the last finished build, whole.
    assert clip_ids(tmp_path) == ["old-0", "same-0"]

    with DatasetWriter(tmp_path, SHAPE) as writer:
        assert writer.is_done("same", Signature(1, 1, "c", "s"))
        group = SourceGroup()
        if not writer.is_done("old", Signature(2, 1, "c", "s")):
            group.sources.append(source_row("old", 2))
            group.clips += write_rows(tmp_path, "clips", [clip_row("old", 1)])
        if not writer.is_done("new", Signature(1, 1, "c", "s")):
            group.sources.append(source_row("new"))
            group.clips += write_rows(tmp_path, "clips", [clip_row("new")])
            group.rejected += write_rows(tmp_path, "rejected", [clip_row("new", 1, reason="clip_score")])
        if not writer.is_done("bad", Signature(1, 1, "c", "s")):
            group.sources.append(source_row("bad", failed_stage="decode"))
            group.quarantine.append(quarantine_row("bad"))
        assert bool(group.sources) == (fatal < 5)  # all four commits made it: only the tag is missing
        writer.commit(group)
        assert writer.finish({}).tag == "build-0002"

    dataset = ClipDataset.open(tmp_path)
    assert clip_ids(tmp_path) == ["new-0", "old-1", "same-0"]
    assert dataset.rejected.read(["clip_id"])["clip_id"].to_pylist() == ["new-1"]
    assert dataset.quarantine.read()["source_id"].to_pylist() == ["bad"]
    assert dataset.info()["sources"] == 4
    assert clip_ids(f"{tmp_path}@build-0001") == ["old-0", "same-0"]
