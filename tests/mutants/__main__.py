"""Puts seeded faults into copies of the code one at a time and counts those that a fast test notices.

python -m tests.mutants                       (also: make mutants)
python -m tests.mutants --count 40 --seed 2 --only storage
python -m tests.mutants --only tasks/evaluation/gate.py tests/test_evaluation_gate.py tests/test_promote.py
python -m tests.mutants --fault "storage/local/visible.py: condition: ..." tests/test_typed_paths.py

Interrupted it goes on when it is called again, as long as no file has changed. The table and what nobody noticed are in
tests/README.md. A fault that changes nothing a user could see is listed with its reason in equivalents.toml and is not
drawn.
"""

from __future__ import annotations

import argparse
import time
import tomllib
from collections import Counter
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout

from tasks import markdown
from tests.mutants.choice import Choice, TimedTest
from tests.mutants.faults import Fault, draw, faults_of
from tests.mutants.reach import Reach, state_digest, tracked
from tests.mutants.trial import Copy, Verdict
from tests.mutants.trying import Kept, try_all

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "runs" / "mutants"
# What decides what a model is, what it is trained on, and what is promoted.
SCOPE = (
    "vidrd_model",
    "storage",
    "tasks/corpora",
    "tasks/filters",
    "tasks/captions",
    "tasks/ingest",
    "tasks/training",
    "tasks/evaluation",
)
PROCESSES = 2
_GIVEN_TESTS_S = 120.0


def main() -> int:
    """Tries the faults and prints a table; 1 when fewer than `--least` per cent are caught."""
    options = _options()
    FOLDER.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(FOLDER / "lock", timeout=0):
            return _run(options)
    except Timeout:
        raise SystemExit(f"error: {FOLDER}: another run puts its faults into the copies there") from None


def _run(options: argparse.Namespace) -> int:
    tests = options.tests + [name for name in options.only if name.startswith("tests/")]
    scope = [name for name in options.only if not name.startswith("tests/")] or SCOPE
    faults = _faults(options, [ROOT / name for name in tracked(ROOT, scope)])
    started_s = time.monotonic()
    if tests:
        given = [TimedTest(name, _GIVEN_TESTS_S) for name in tests]
        choices = [Choice({}, given, _GIVEN_TESTS_S * len(given)) for _ in faults]
    else:
        reach = Reach.take(ROOT, FOLDER / "reach", PROCESSES)
        choices = [reach.of(fault.path, fault.line) for fault in faults]
    copies = [Copy(ROOT, FOLDER / f"copy-{number}") for number in range(PROCESSES)]
    kept = Kept(FOLDER / "verdicts" / f"{state_digest(ROOT)}.jsonl")
    try:
        verdicts = try_all(list(zip(faults, choices, strict=True)), copies, kept, partial(print, flush=True))
    except KeyboardInterrupt:
        print("interrupted; the same command goes on with the faults that are left")
        return 130
    finally:
        for copy in copies:
            copy.close()
    _print(verdicts, time.monotonic() - started_s)
    caught = sum(verdict.caught for verdict in verdicts)
    return int(100 * caught < options.least * len(verdicts))


def _faults(options: argparse.Namespace, files: list[Path]) -> list[Fault]:
    if options.fault:
        faults = [fault for path in files for fault in faults_of(path, ROOT) if fault.key == options.fault]
        if not faults:
            raise SystemExit(f"error: no such fault: {options.fault}")
        return faults
    return draw(files, ROOT, options.count, options.seed, _equivalents())


def _print(verdicts: list[Verdict], seconds: float) -> None:
    all_of, caught = Counter[str](), Counter[str]()
    for verdict in verdicts:
        folder = next(name for name in (*SCOPE, verdict.fault.path) if verdict.fault.path.startswith(name))
        all_of[folder] += 1
        caught[folder] += verdict.caught
    counts = [(folder, number, caught[folder]) for folder, number in sorted(all_of.items())]
    counts.append(("all", len(verdicts), caught.total()))
    rows = [(*cells, f"{100 * cells[2] / max(cells[1], 1):.0f} %") for cells in counts]
    print("", *markdown.table(("where", "faults", "caught", ""), rows, numbers=True), sep="\n")
    print(f"\n{seconds / 60:.0f} minutes")
    for verdict in verdicts:
        if not verdict.caught:
            reason = verdict.by or f"{verdict.tests} tests passed"
            print(f"survived: {verdict.fault.path}:{verdict.fault.line} ({reason})\n  {verdict.fault.key}")


def _equivalents() -> dict[str, str]:
    listed = tomllib.loads((Path(__file__).with_name("equivalents.toml")).read_text(encoding="utf-8"))
    return {entry["fault"]: entry["reason"] for entry in listed.get("equivalent", [])}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=200, help="faults to draw")
    parser.add_argument("--seed", type=int, default=1, help="of the draw")
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="PATH",
        help="files or folders in place of all that counts; below tests/: tests, as at the end",
    )
    parser.add_argument(
        "--least", type=float, default=85, metavar="PERCENT", help="fewer caught is a failure"
    )
    parser.add_argument("--fault", metavar="KEY", help="this one only, as the table names it")
    parser.add_argument("tests", nargs="*", help="tests to show it to, in place of those that reach it")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
