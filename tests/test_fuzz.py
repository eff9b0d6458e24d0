"""Damaged inputs of every kind end as rows, in quarantine or as a refusal; what else happens to a reader is noticed."""

import os
import signal
from pathlib import Path

import pytest

from tests.fuzz.cases import Case, try_all, try_case, write_files
from tests.fuzz.inputs import CORPORA, Files, whole_inputs
from tests.fuzz.reader import Outcome, Reader

# An input that a reader finds nothing in would be damaged for nothing.
WHOLE = {found.name: found for found in whole_inputs()}


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    reader = Reader(tmp_path_factory.mktemp("fuzz") / "errors")
    yield reader
    reader.close()


def _read(reader: Reader, folder: Path, files: Files) -> Outcome:
    write_files(folder, files)
    return reader.read(folder)


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_input_gives_rows(reader, tmp_path, name):
    outcome = _read(reader, tmp_path, WHOLE[name].files)
    assert (outcome.ended, outcome.wrong) == ("rows", ())


def test_a_case_is_the_same_again_and_seeds_differ():
    assert Case(3, 8).files == Case(3, 8).files
    assert Case(3, 8).files != Case(4, 8).files
    assert any(Case(3, number).files != Case(3, number).input.files for number in range(8))


def test_damaged_inputs_end_in_one_of_three_ways(tmp_path):
    tried = try_all([Case(0, number) for number in range(4 * len(WHOLE))], workers=1, kept=tmp_path)
    assert not [(one.case, one.outcome) for one in tried if one.outcome.wrong]
    assert {"rows", "quarantined", "refused"} <= {one.outcome.ended for one in tried}


@pytest.mark.slow
def test_a_thousand_damaged_inputs(tmp_path):
    tried = try_all([Case(1, number) for number in range(1000)], workers=2, kept=tmp_path)
    assert not [(one.case, one.outcome) for one in tried if one.outcome.wrong]


def test_a_reader_that_dies_or_hangs_is_noticed_and_started_again(reader, tmp_path, monkeypatch):
    files = WHOLE["png image"].files
    write_files(tmp_path / "pipe", files)
    (tmp_path / "pipe" / CORPORA).unlink()
    os.mkfifo(tmp_path / "pipe" / CORPORA)  # opening it waits for a writer
    monkeypatch.setattr("tests.fuzz.reader.TIME_LIMIT_S", 1.0)
    assert reader.read(tmp_path / "pipe").ended == "hung"
    monkeypatch.undo()
    os.kill(reader.pid, signal.SIGKILL)
    assert _read(reader, tmp_path / "dead", files).ended == "died"
    assert _read(reader, tmp_path / "again", files).ended == "rows"


def test_the_files_of_a_bad_end_are_kept(reader, tmp_path):
    os.kill(reader.pid, signal.SIGKILL)
    assert try_case(Case(0, 0), reader, tmp_path / "case", tmp_path / "kept").outcome.ended == "died"
    kept = tmp_path / "kept/0-0"
    left = {
        path.relative_to(kept).as_posix(): path.read_bytes() for path in kept.rglob("*") if path.is_file()
    }
    assert left == Case(0, 0).files
