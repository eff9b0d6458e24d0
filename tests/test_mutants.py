"""The mutation tests' own parts: faults that are Python and leave words alone, and tests that notice one."""

import textwrap
from pathlib import Path

import pytest

from tests.mutants.choice import Choice, TimedTest
from tests.mutants.faults import Fault, draw, faults_of
from tests.mutants.trial import Copy
from tests.mutants.trying import Kept, try_all

CODE = '''
"""Doubles what is even."""
from __future__ import annotations


def double(numbers: list[int], scale: float = 1.0) -> list[int] | None:
    """Returns each even number twice as large."""
    print("doubling", len(numbers))
    if not numbers or max(numbers) >= 100:
        raise ValueError(f"{len(numbers) + 1} numbers, ä too large")
    pairs = zip(numbers, numbers, strict=True)
    return [2 * number for number, _ in sorted(pairs, key=abs) if number % 2 == 0 and number in numbers]
'''


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "double.py"
    path.write_text(textwrap.dedent(CODE), encoding="utf-8")
    return path


def test_every_kind_of_fault_stands_where_it_says(source):
    text = source.read_text(encoding="utf-8")
    faults = faults_of(source, source.parent)
    found = {(fault.kind, fault.original.strip(), fault.replacement.strip()) for fault in faults}
    assert {
        ("comparison", ">=", ">"),
        ("comparison", "==", "!="),
        ("comparison", "in", "not in"),
        ("arithmetic", "*", "/"),
        ("arithmetic", "%", "*"),
        ("and/or", "or", "and"),
        ("and/or", "and", "or"),
        ("not", "not numbers", "numbers"),
        ("constant", "100", "(100 + 1)"),
        ("condition", "not numbers or max(numbers) >= 100", "False"),
        ("filter", "number % 2 == 0 and number in numbers", "True"),
        ("call", "max", "min"),
        ("argument", "key=abs", ""),
    } <= found
    for fault in faults:
        assert text[fault.start : fault.end] == fault.original
        assert fault.line == text.count("\n", 0, fault.start) + 1
        compile(fault.applied_to(text), "double", "exec")


def test_no_fault_is_in_words_or_types(source):
    text = source.read_text(encoding="utf-8")
    untouched = [
        text.index(word)
        for word in ("Returns each", "doubling", "len(numbers) + 1", "None", "annotations", "True")
    ]
    for fault in faults_of(source, source.parent):
        assert not any(fault.start <= place < fault.end for place in untouched), fault


def test_the_same_seed_draws_the_same_faults(source):
    drawn = [draw([source], source.parent, 5, seed) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2] and len(drawn[0]) == 5


@pytest.mark.slow
@pytest.mark.gate
def test_a_fault_that_a_test_notices_is_caught_and_taken_out_again(tmp_path):
    root = Path(__file__).resolve().parents[1]
    copy = Copy(root, tmp_path / "copy", libraries=["pytest"])
    path = "storage/local/visible.py"
    before = (copy.root / path).read_text(encoding="utf-8")
    harmless = Fault(path, 1, len(before), len(before), "statement", "", "pass\n")
    harmful = Fault(path, 1, len(before), len(before), "statement", "", "visible = None\n")
    choice = Choice({}, [TimedTest("tests/test_mutants.py::test_the_words_of_others_are_visible", 1.0)], 1.0)
    kept = Kept(tmp_path / "kept.jsonl")
    told: list[str] = []

    def tried() -> list[bool]:
        jobs = [(harmless, choice), (harmful, choice)]
        return [verdict.caught for verdict in try_all(jobs, [copy], kept, told.append)]

    assert tried() == [False, True]
    assert (copy.root / path).read_text(encoding="utf-8") == before
    assert (root / path).read_text(encoding="utf-8") == before
    assert [line.split(" ")[0] for line in told] == ["[1/2,", "[2/2,"]
    # What was found out once is read again: neither fault is shown to a test.
    told.clear()
    kept = Kept(tmp_path / "kept.jsonl")
    assert tried() == [False, True] and told == ["2 of 2 faults are known from before"]
    endless = Fault(path, 1, 0, 0, "statement", "", "while True:\n    pass\n")
    assert (
        copy.try_fault(endless, Choice({}, choice.tests, -19.0)).by == "did not end"
    )  # within three seconds
    assert not copy.try_fault(harmless, choice).caught  # which harms no other
    copy.close()


def test_the_words_of_others_are_visible():
    """The test that the one above shows its faults to."""
    from storage.local.visible import visible

    assert visible("\x1b[2J") != "\x1b[2J"


def test_near_and_cheap_tests_are_chosen_and_what_they_share_is_paid_once():
    fixtures_s = {"ray": 30.0, "tests/test_b.py::built": 5.0}
    tests = [
        TimedTest("tests/test_a.py::far", 4.0),
        TimedTest("tests/test_b.py::near", 1.0, False, ("tests/test_b.py::built",)),
        TimedTest("tests/test_b.py::also", 6.0, False, ("tests/test_b.py::built",)),
        TimedTest("tests/test_c.py::on_ray", 1.0, True, ("ray",)),
        TimedTest("tests/test_c.py::long", 90.0),
    ]

    def chosen(budget_s: float, tests: list[TimedTest] = tests) -> tuple[list[str], float]:
        choice = Choice(fixtures_s)
        choice.add(tests, {"tests/test_b.py"}, budget_s)
        return [test.name.split("::")[1] for test in choice.tests], choice.seconds

    assert chosen(20.0) == (["near", "far", "also"], 16.0)
    assert chosen(60.0) == (["near", "far", "on_ray", "also"], 47.0)
    assert chosen(20.0, tests[-1:]) == (["long"], 90.0)  # rather than none
