"""Shows mutated inputs to every reader of what comes from outside.

python -m tests.fuzz                            (also: make fuzz)
python -m tests.fuzz --count 500 --seed 7 --only parquet
python -m tests.fuzz --seed 7 --case 123        one case again

Each has to end within ten seconds as rows, as a source in quarantine that says why, or as a refusal of one line. What
does not is kept under runs/fuzz; the exit code is then 1.
"""

from __future__ import annotations

import argparse
import secrets
import sys

from tasks import markdown
from tests.fuzz.cases import FOLDER, Case, Tried, try_all


def main() -> int:
    """Tries the cases and prints a table by input and end; 1 when any ended as none may."""
    options = _options()
    seed = secrets.randbelow(2**31) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    numbers = range(options.count) if options.case is None else [options.case]
    cases = [Case(seed, number) for number in numbers]
    tried = try_all(
        [case for case in cases if options.only in case.input.name], options.workers, on_case=_tell
    )
    _print(tried)
    return int(any(one.outcome.wrong for one in tried))


def _tell(done: int, of: int, one: Tried) -> None:
    for wrong in one.outcome.wrong:
        print(f"case {one.case.number}, {one.case.input.name}: {one.outcome.ended}: {wrong}", flush=True)
    if done % 500 == 0:
        print(f"{done} of {of}", file=sys.stderr, flush=True)


def _print(tried: list[Tried]) -> None:
    ends = sorted({one.outcome.ended for one in tried})
    rows = []
    for name in dict.fromkeys(
        one.case.input.name for one in sorted(tried, key=lambda one: one.case.input.name)
    ):
        found = [one.outcome for one in tried if one.case.input.name == name]
        slowest_s = max(outcome.seconds for outcome in found)
        counts = [sum(outcome.ended == end for outcome in found) for end in ends]
        rows.append((name, len(found), *counts, f"{slowest_s:.1f}"))
    print(*markdown.table(("input", "cases", *ends, "slowest, s"), rows, numbers=True), sep="\n")
    wrong = [one for one in tried if one.outcome.wrong]
    if wrong:
        print(f"{len(wrong)} of {len(tried)} ended as none may; their files are in {FOLDER}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20_000, help="inputs to mutate")
    parser.add_argument("--seed", type=int, help="of the mutations; by default a new one, which is printed")
    parser.add_argument("--case", type=int, metavar="NUMBER", help="this one only, of the seed")
    parser.add_argument("--only", default="", metavar="TEXT", help="inputs whose names hold this")
    parser.add_argument("--workers", type=int, default=2, help="processes that read")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
