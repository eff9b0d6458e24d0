"""The cases of a run: each is an input and its damage, drawn from the run's seed and the case's number alone."""

from __future__ import annotations

import queue
import shutil
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.fuzz.inputs import Files, Input, whole_inputs
from tests.fuzz.mutations import damaged
from tests.fuzz.reader import ROOT, Outcome, Reader

FOLDER = ROOT / "runs" / "fuzz"
"""Where the files of cases that ended as none may are kept."""


@dataclass(frozen=True)
class Case:
    """One damaged input."""

    seed: int
    number: int

    @property
    def input(self) -> Input:
        """What is damaged: the inputs take turns."""
        return whole_inputs()[self.number % len(whole_inputs())]

    @property
    def files(self) -> Files:
        """All files of the corpus, one of them damaged."""
        rng = np.random.default_rng([self.seed, self.number])
        other = whole_inputs()[int(rng.integers(len(whole_inputs())))]
        whole = self.input
        return whole.files | {
            whole.target: damaged(whole.files[whole.target], other.files[other.target], rng)
        }


@dataclass(frozen=True)
class Tried:
    """A case and how it ended."""

    case: Case
    outcome: Outcome


def try_all(
    cases: Sequence[Case],
    workers: int,
    kept: Path = FOLDER,
    on_case: Callable[[int, int, Tried], None] | None = None,
) -> list[Tried]:
    """Has worker processes read the cases; the files of those that end as none may are left under `kept`."""
    whole_inputs()  # made once, before the threads ask for them
    done: list[Tried] = []
    lock = threading.Lock()
    with tempfile.TemporaryDirectory(prefix="vidrd-fuzz-") as scratch:
        readers: queue.SimpleQueue[Reader] = queue.SimpleQueue()
        for number in range(workers):
            readers.put(Reader(Path(scratch) / f"errors-{number}"))

        def one(case: Case) -> None:
            reader = readers.get()
            try:
                tried = try_case(case, reader, Path(scratch) / f"case-{case.number}", kept)
            finally:
                readers.put(reader)
            with lock:
                done.append(tried)
                if on_case is not None:
                    on_case(len(done), len(cases), tried)

        try:
            with ThreadPoolExecutor(workers) as pool:
                list(pool.map(one, cases))
        finally:
            while not readers.empty():
                readers.get().close()
    return sorted(done, key=lambda tried: tried.case.number)


def try_case(case: Case, reader: Reader, folder: Path, kept: Path) -> Tried:
    """Has a worker read a case, which is written into `folder` and, where it ends as none may, left under `kept`."""
    write_files(folder, case.files)
    outcome = reader.read(folder)
    if outcome.wrong:
        target = kept / f"{case.seed}-{case.number}"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(folder, target)
    shutil.rmtree(folder)
    return Tried(case, outcome)


def write_files(folder: Path, files: Files) -> None:
    """Writes files by their paths below a folder."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
