"""What grows with the number of commits, versions and sources: manifests, commits, replacing a source, the ledger."""

from __future__ import annotations

import gc
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path

from storage.tables import commit_rows, create_table, open_table, table_path, write_rows
from storage.writer import Signature
from tests.dataset_rows import SHAPE, clip_row

FRAGMENTS = (1_000, 5_000, 10_000)
VERSIONS = (1_000, 4_000)
SOURCES = 200_000
REPEATS = 5


def main() -> None:
    """Prints three tables."""
    print(
        "Fragments of one row in the table `clips`; a commit appends one more, a replacement drops a source.\n"
    )
    print(
        "| fragments | manifest | a fragment | open | append | replace a source |\n|---:|---:|---:|---:|---:|---:|"
    )
    with tempfile.TemporaryDirectory(prefix="vidrd-bench-") as folder:
        _fragments(Path(folder))
    print("\nVersions of a table of one row, each replacing it.\n")
    print("| versions | their manifests | open | commit |\n|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory(prefix="vidrd-bench-") as folder:
        _versions(Path(folder))
    print(f"\nThe ledger in the driver's memory, {SOURCES:,} sources.\n")
    print("| what | bytes a source |\n|---|---:|")
    _memory()


def _fragments(folder: Path) -> None:
    create_table(folder, "clips", SHAPE)
    there = 0
    for wanted in FRAGMENTS:
        fragments = [
            fragment
            for number in range(there, wanted)
            for fragment in write_rows(folder, "clips", [clip_row(f"s{number}")])
        ]
        commit_rows(folder, "clips", fragments)
        there = wanted
        size = _newest_manifest(folder).stat().st_size
        opened_s = _median_s(partial(open_table, folder, "clips"))
        names = [f"a{wanted}-{number}" for number in range(REPEATS)]
        appended_s = _median_s(*(partial(_append, folder, name) for name in names))
        replaced_s = _median_s(*(partial(commit_rows, folder, "clips", [], {name}) for name in names))
        print(
            f"| {wanted:,} | {size / 1e6:.2f} MB | {size / wanted:.0f} B | {1e3 * opened_s:.1f} ms "
            f"| {1e3 * appended_s:.0f} ms | {replaced_s:.2f} s |",
            flush=True,
        )


def _append(folder: Path, source: str) -> None:
    commit_rows(folder, "clips", write_rows(folder, "clips", [clip_row(source)]))


def _versions(folder: Path) -> None:
    create_table(folder, "clips", SHAPE)
    _append(folder, "s")

    def replace() -> None:
        commit_rows(folder, "clips", write_rows(folder, "clips", [clip_row("s")]), {"s"})

    there = open_table(folder, "clips").version
    for wanted in VERSIONS:
        for _ in range(wanted - there):
            replace()
        there = open_table(folder, "clips").version
        manifests = sum(path.stat().st_size for path in (table_path(folder, "clips") / "_versions").iterdir())
        opened_s, replaced_s = _median_s(partial(open_table, folder, "clips")), _median_s(replace)
        there += REPEATS
        print(
            f"| {wanted:,} | {manifests / 1e6:.1f} MB | {1e3 * opened_s:.1f} ms | {1e3 * replaced_s:.1f} ms |",
            flush=True,
        )


def _memory() -> None:
    def ledger() -> object:
        return {
            f"{number:032x}": Signature(10_000 + number, 10**18 + number, f"{number:032x}", f"{7:032x}")
            for number in range(SOURCES)
        }

    def ids() -> object:
        return {f"{number:032x}" for number in range(SOURCES)}

    for name, make in (("the ledger: id and signature", ledger), ("a set of ids, as the repair makes", ids)):
        gc.collect()
        tracemalloc.start()
        held = make()
        size = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        del held
        print(f"| {name} | {size / SOURCES:.0f} |", flush=True)


def _newest_manifest(folder: Path) -> Path:
    manifests = (table_path(folder, "clips") / "_versions").glob("*.manifest")
    return max(manifests, key=lambda path: path.stat().st_mtime_ns)


def _median_s(*works: Callable[[], object]) -> float:
    """The median time of several pieces of work, or of one done several times."""
    taken_s = []
    for work in works if len(works) > 1 else works * REPEATS:
        started_s = time.perf_counter()
        work()
        taken_s.append(time.perf_counter() - started_s)
    return statistics.median(taken_s)


if __name__ == "__main__":
    main()
