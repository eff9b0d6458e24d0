"""Puts seeded faults into the code one at a time and counts those that a fast test notices.

python -m tests.mutants                       (also: make mutants)
python -m tests.mutants --count 40 --seed 2 --only storage
python -m tests.mutants --fault "storage/local/visible.py: condition: ..." tests/test_typed_paths.py

The table and what nobody noticed are in tests/README.md. A fault that changes nothing a user could see is listed with
its reason in equivalents.toml and is not drawn.
"""

from __future__ import annotations

import argparse
import queue
import time
import tomllib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tasks import markdown
from tests.mutants.faults import Fault, draw, faults_of
from tests.mutants.reach import Reach, TimedTest, tracked
from tests.mutants.trial import Copy, Verdict

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
WORKERS = 2


def main() -> int:
    """Tries the faults and prints a table; 1 when fewer than `--least` per cent are caught."""
    options = _options()
    files = [ROOT / name for name in tracked(ROOT, options.only or SCOPE)]
    if options.fault:
        faults = [fault for path in files for fault in faults_of(path, ROOT) if fault.key == options.fault]
        if not faults:
            raise SystemExit(f"error: no such fault in {', '.join(options.only or SCOPE)}: {options.fault}")
    else:
        equivalents = _equivalents()
        drawn = draw(files, ROOT, options.count + len(equivalents), options.seed)
        faults = [fault for fault in drawn if fault.key not in equivalents][: options.count]
    started_s = time.monotonic()
    if options.tests:
        given = [TimedTest(name, 30.0, False) for name in options.tests]
        verdicts = [Copy(ROOT, FOLDER / "copy-0").try_fault(fault, given) for fault in faults]
    else:
        verdicts = _try_all(faults)
    _print(verdicts, time.monotonic() - started_s)
    caught = sum(verdict.caught for verdict in verdicts)
    return int(100 * caught < options.least * len(verdicts))


def _try_all(faults: list[Fault]) -> list[Verdict]:
    reach = Reach.take(ROOT, FOLDER / "reach", WORKERS)
    tests = [reach.of(fault.path, fault.line) for fault in faults]
    copies: queue.SimpleQueue[Copy] = queue.SimpleQueue()
    for number in range(WORKERS):
        copies.put(Copy(ROOT, FOLDER / f"copy-{number}"))

    def one(job: tuple[Fault, list[TimedTest]]) -> Verdict:
        copy = copies.get()
        try:
            verdict = copy.try_fault(*job)
        finally:
            copies.put(copy)
        told = "caught" if verdict.caught else "SURVIVED"
        print(f"{told:9} {verdict.seconds:5.0f} s  {verdict.fault.line:4} {verdict.fault.key}", flush=True)
        return verdict

    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(one, zip(faults, tests, strict=True)))


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
        "--only", nargs="+", metavar="PATH", help="files or folders in place of all that counts"
    )
    parser.add_argument(
        "--least", type=float, default=85, metavar="PERCENT", help="fewer caught is a failure"
    )
    parser.add_argument("--fault", metavar="KEY", help="this one only, as the table names it")
    parser.add_argument("tests", nargs="*", help="tests to show it to, in place of those that reach it")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
