"""Attacks rows that are written again: moved between the tables, changed in place, cut off by a kill in between."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from storage.dataset.schema import LATER_COLUMNS
from storage.dataset.tables import read_table, write_rows
from storage.dataset.writer import DatasetWriter, RowGroup
from tests.dataset_rows import SHAPE, clip_row, commit, source_row

PROJECT = Path(__file__).parents[1]


def _ids(folder: Path) -> dict[str, list[str]]:
    """What the newest versions hold, finished or not."""
    with DatasetWriter(folder, SHAPE) as writer:
        tables = {name: writer.table(name).read(["clip_id"]) for name in ("clips", "rejected")}
        return {name: sorted(table["clip_id"].to_pylist()) for name, table in tables.items()}


def test_whole_rows_come_back(tmp_path):
    rows = [clip_row("a", video=b"mp4 of a"), clip_row("b", latents_std=np.ones(SHAPE, np.float16))]
    commit(tmp_path, rows, [clip_row("c", latents=None, reason="clip_score")], sources=map(source_row, "abc"))
    read = read_table(tmp_path, "clips").whole_rows([1, 0])
    for expected, row in zip(rows[::-1], read, strict=True):
        assert row.keys() - LATER_COLUMNS == expected.keys()
        for name, value in expected.items():
            if isinstance(value, np.ndarray):
                np.testing.assert_array_equal(row[name], value)
            else:
                assert row[name] == value, name
    (rejected,) = read_table(tmp_path, "rejected").whole_rows([0])
    assert rejected["latents"] is None and rejected["reason"] == "clip_score"
    (without,) = read_table(tmp_path, "clips").whole_rows([0], video=False)
    assert "video" not in without and without["clip_id"] == "a-0"


def _move(folder: Path) -> RowGroup:
    """`up` goes to clips, `down` to rejected, `same` gets another split."""
    return RowGroup(
        clips=write_rows(folder, "clips", [clip_row("up"), clip_row("same", split="test")]),
        rejected=write_rows(folder, "rejected", [clip_row("down", reason="motion")]),
        clips_ids=["up-0", "same-0"],
        rejected_ids=["down-0"],
    )


def _before(folder: Path) -> None:
    commit(
        folder,
        [clip_row("down"), clip_row("same"), clip_row("rest")],
        [clip_row("up", latents=None, reason="clip_score"), clip_row("low", reason="clip_score")],
        sources=map(source_row, ["down", "same", "rest", "up", "low"]),
    )


AFTER = {"clips": ["rest-0", "same-0", "up-0"], "rejected": ["down-0", "low-0"]}


def test_rows_move_and_change(tmp_path):
    _before(tmp_path)
    with DatasetWriter(tmp_path, SHAPE) as writer:
        writer.rewrite(_move(tmp_path))
        splits = writer.table("clips").read(["clip_id", "split"]).to_pylist()
        assert {row["split"] for row in splits if row["clip_id"] == "same-0"} == {"test"}
    assert _ids(tmp_path) == AFTER


SCRIPT = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
import storage.dataset.writer
from tests.dataset_rows import SHAPE
from tests.test_storage_rows import _before, _move
folder, fatal = Path(sys.argv[1]), int(sys.argv[2])
_before(folder)
with storage.dataset.writer.DatasetWriter(folder, SHAPE) as writer:
    group, commit_rows, calls = _move(folder), storage.dataset.writer.commit_rows, 0
    def commit_or_die(*args, **kwargs):
        global calls
        calls += 1
        if calls == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        return commit_rows(*args, **kwargs)
    storage.dataset.writer.commit_rows = commit_or_die
    writer.rewrite(group)
"""


@pytest.mark.parametrize("fatal", [1, 2, 3])
def test_a_kill_between_the_commits_loses_no_row_and_leaves_none_twice(tmp_path, fatal):
    killed = subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path), str(fatal), str(PROJECT)])
    assert killed.returncode == -signal.SIGKILL
    found = _ids(tmp_path)
    together = sorted(found["clips"] + found["rejected"])
    assert together == sorted(AFTER["clips"] + AFTER["rejected"])
    with DatasetWriter(tmp_path, SHAPE) as writer:
        writer.rewrite(_move(tmp_path))
    assert _ids(tmp_path) == AFTER
