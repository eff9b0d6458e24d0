"""A whole build: how well it uses the processors, what it holds in memory, and what a run with nothing to do costs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.tables import print_head, print_row

SIZES = (100, 500, 1000, 2000)
LOOKS = 4  # at the memory, each after as many sources more
START_SOURCES = 64  # left out of the rate: until then workers load their models


def main() -> None:
    """Prints a row per size of corpus, each built by a process of its own, then built again."""
    rate, memory = "rate over what the stages' work allows", "peak memory of all processes"
    print_head("sources", "clips", "wall", rate, memory, "again")
    with tempfile.TemporaryDirectory(prefix="vidrd-bench-") as folder:
        for sources in SIZES:
            print_row(*(cell for what in ("build", "again") for cell in _run(what, Path(folder), sources)))


def _run(what: str, folder: Path, sources: int) -> list[str]:
    command = [sys.executable, "-m", "tests.bench.build", what, str(folder), str(sources)]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    cells: list[str] = json.loads(done.stdout.splitlines()[-1])
    return cells


def build(folder: Path, sources: int) -> None:
    """Builds a world of so many sources and prints what was measured."""
    from flows.demo.stages import memory_of_family
    from flows.profile import load_profile
    from tasks.cluster import ensure_ray
    from tasks.tiny.world.corpora import write_tiny_world
    from tests.build_world import build as build_dataset

    parts = sources // 2, sources // 4, sources // 4 - sources // 25, sources // 25
    corpora = write_tiny_world(folder / f"world-{sources}", 7, *parts, reference=1)
    ensure_ray()
    notes: list[tuple[float, int, int]] = []
    looks: list[int] = []

    def on_progress(done: int, total: int | None, note: str = "") -> None:
        notes.append((time.perf_counter(), done, _clips(note)))
        # Looking at the memory of all processes takes a quarter of a second of a core: seldom, or it shows in the rate.
        if total and done > total * (len(looks) + 1) / (LOOKS + 1):
            looks.append(memory_of_family())

    summary = build_dataset(
        corpora, folder / f"dataset-{sources}", load_profile("tiny").recipe(), on_progress=on_progress
    )
    work = {
        stage: s for stage, s in summary.seconds.items() if stage not in ("wall", "read", "commit", "settle")
    }
    begun = next(note for note in notes if note[1] >= START_SOURCES)
    ended = max(notes, key=lambda note: note[1])
    clips_per_s = (ended[2] - begun[2]) / (ended[0] - begun[0])
    share = clips_per_s * sum(work.values()) / summary.clips / (os.cpu_count() or 1)
    peak = f"{max(looks) / 2**20:.0f} MiB"
    wall = f"{summary.seconds['wall']:.1f} s"
    print(json.dumps([str(summary.read), str(summary.clips), wall, f"{share:.2f}", peak]))


def _clips(note: str) -> int:
    """Clips kept and rejected, as the progress line says it: `clips: ...; 12 clips kept, 3 rejected, ...`."""
    parts = note.partition("; ")[2].split(", ")
    return sum(int(part.split()[0]) for part in parts[:2] if part[:1].isdigit())


def again(folder: Path, sources: int) -> None:
    """Builds once more with nothing to do and prints how long it took, beyond the start of the process."""
    from flows.profile import load_profile
    from tests.build_world import build as build_dataset

    recipe = load_profile("tiny").recipe()
    started_s = time.perf_counter()
    summary = build_dataset(
        folder / f"world-{sources}" / "corpora.toml", folder / f"dataset-{sources}", recipe
    )
    if summary.skipped != summary.read:
        raise SystemExit(f"{summary.read - summary.skipped} sources were done again")
    print(json.dumps([f"{time.perf_counter() - started_s:.2f} s"]))


if __name__ == "__main__":
    from flows.environment import prepare

    prepare()
    {"build": build, "again": again}[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]))
