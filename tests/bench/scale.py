"""What grows with commits, versions, sources and clips: manifests, replacing a source, the ledger, the driver."""

from __future__ import annotations

import gc
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from storage.dataset.clip_dataset import ClipDataset
from storage.dataset.folder import table_path
from storage.dataset.tables import commit_rows, create_table, open_table, write_rows
from storage.dataset.writer import DatasetWriter, Signature
from tasks.cluster import ensure_ray, shutdown_ray
from tasks.ingest.items import DecodeStep
from tasks.pages.dataset_counts import count_dataset
from tests.bench.tables import print_head, print_row
from tests.corpus_records import read_records
from tests.dataset_rows import SHAPE, clip_row, commit, source_row

FRAGMENTS = (1_000, 5_000, 10_000)
VERSIONS = (1_000, 4_000)
SOURCES = 200_000
CLIPS = 40_000
TAKEN, DECODERS = 2_000, 4
REPEATS = 5


def main() -> None:
    """Prints four tables."""
    print(
        "Fragments of one row in the table `clips`; a commit appends one more, a replacement drops a source.\n"
    )
    print_head("fragments", "manifest", "a fragment", "open", "append", "replace a source")
    with tempfile.TemporaryDirectory(prefix="vidrd-bench-") as folder:
        _fragments(Path(folder))
    print("\nVersions of a table of one row, each replacing it.\n")
    print_head("versions", "their manifests", "open", "commit")
    with tempfile.TemporaryDirectory(prefix="vidrd-bench-") as folder:
        _versions(Path(folder))
    print(f"\nWhat the driver holds of every source, measured on {SOURCES:,}.\n")
    print_head("what", "bytes a source")
    _memory()
    print("\nWhat one process gets through.\n")
    print_head("what", "a second")
    with tempfile.TemporaryDirectory(prefix="vidrd-bench-") as folder:
        _rates(Path(folder))


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
        sizes = f"{size / 1e6:.2f} MB", f"{size / wanted:.0f} B"
        times = f"{1e3 * opened_s:.1f} ms", f"{1e3 * appended_s:.0f} ms", f"{replaced_s:.2f} s"
        print_row(f"{wanted:,}", *sizes, *times)


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
        times = f"{1e3 * opened_s:.1f} ms", f"{1e3 * replaced_s:.1f} ms"
        print_row(f"{wanted:,}", f"{manifests / 1e6:.1f} MB", *times)


def _memory() -> None:
    def ledger() -> object:
        return {
            f"{number:032x}": Signature(10_000 + number, 10**18 + number, f"{number:032x}", f"{7:032x}")
            for number in range(SOURCES)
        }

    def ids() -> object:
        return {f"{number:032x}" for number in range(SOURCES)}

    def manifest() -> object:
        with tempfile.TemporaryDirectory(prefix="vidrd-bench-") as folder:
            path = Path(folder) / "manifest.tsv"
            rows = (
                f"videos/{number:08d}.mp4\ta caption of some ten words, number {number}\n"
                for number in range(SOURCES)
            )
            path.write_text("file\tcaption\n" + "".join(rows), encoding="utf-8")
            return read_records(path, "short-videos", "csv")

    made = (
        ("the ledger: id and signature", ledger),
        ("a set of ids, as the repair makes", ids),
        ("a manifest of a folder", manifest),
    )
    for name, make in made:
        gc.collect()
        tracemalloc.start()
        held = make()
        size = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        del held
        print_row(name, f"{size / SOURCES:.0f}")


def _rates(folder: Path) -> None:
    create_table(folder, "sources", SHAPE)
    commit_rows(
        folder, "sources", write_rows(folder, "sources", [source_row(f"s{n}") for n in range(SOURCES)])
    )
    _print_rate("sources read into the ledger", SOURCES, partial(_open_writer, folder))
    create_table(folder, "clips", SHAPE)
    clips = [clip_row(f"s{number}") for number in range(CLIPS)]
    commit(folder, clips)
    _print_rate("clips counted for the report", CLIPS, partial(count_dataset, ClipDataset.open(folder)))
    ensure_ray()
    _take_steps(DECODERS)  # starts the workers
    _print_rate("clips taken from decoders by the driver", TAKEN, partial(_take_steps, TAKEN))
    shutdown_ray()


def _open_writer(folder: Path) -> None:
    with DatasetWriter(folder, SHAPE):
        pass


def _take_steps(number: int) -> None:
    """The driver's part of decoding: wait, read the step, take the reference of the clip."""
    import ray

    def steps(clips: int) -> Iterator[object]:
        for clip in range(clips):
            yield DecodeStep(str(clip))
            yield bytes(100_000)

    decode = ray.remote(num_cpus=0, _generator_backpressure_num_objects=8)(steps)
    generators = {decode.remote(number // DECODERS) for _ in range(DECODERS)}
    taken = []
    while generators:
        (generator,), _ = ray.wait(list(generators), num_returns=1, fetch_local=False)
        try:
            ray.get(next(generator))
            taken.append(next(generator))
        except StopIteration:
            generators.remove(generator)


def _print_rate(name: str, number: int, work: Callable[[], object]) -> None:
    started_s = time.perf_counter()
    work()
    print_row(name, f"{number / (time.perf_counter() - started_s):,.0f}")


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
