"""All faults, two at a time: what has been tried already is not tried again, and what is left is told as it goes."""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from tasks.units import duration
from tests.mutants.choice import Choice
from tests.mutants.faults import Fault
from tests.mutants.trial import Copy, Verdict

Job = tuple[Fault, Choice]


class Kept:
    """The verdicts of one state of the project's files, a JSON object a line, so that a run goes on where one ended."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[tuple[Fault, frozenset[str]], Verdict] = {}
        if path.is_file():
            for line in path.read_text(encoding="utf-8").splitlines():
                row = json.loads(line)
                verdict = Verdict(**row["verdict"] | {"fault": Fault(**row["verdict"]["fault"])})
                self._known[verdict.fault, frozenset(row["tests"])] = verdict

    def find(self, job: Job) -> Verdict | None:
        """What came of the same fault, shown to the same tests."""
        return self._known.get(_key(job))

    def add(self, job: Job, verdict: Verdict) -> None:
        """Keeps a verdict, on the disk before this returns."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fault, tests = _key(job)
        row = {"verdict": asdict(verdict), "tests": sorted(tests)}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self._known[fault, tests] = verdict


def try_all(
    jobs: Sequence[Job], copies: Sequence[Copy], kept: Kept, tell: Callable[[str], None]
) -> list[Verdict]:
    """The verdict of every job, each copy working on one at a time; an interrupt ends the tests that are running."""
    verdicts = {job[0]: known for job in jobs if (known := kept.find(job)) is not None}
    left = [job for job in jobs if job[0] not in verdicts]
    if verdicts:
        tell(f"{len(verdicts)} of {len(jobs)} faults are known from before")
    started_s = time.monotonic()
    for done, (job, verdict) in enumerate(_verdicts(left, copies), 1):
        kept.add(job, verdict)
        verdicts[verdict.fault] = verdict
        caught = sum(one.caught for one in verdicts.values())
        rest_s = (time.monotonic() - started_s) / done * (len(left) - done)
        what = "caught" if verdict.caught else "SURVIVED"
        tell(
            f"[{len(verdicts)}/{len(jobs)}, {caught} caught, about {duration(rest_s)} left] "
            f"{what} in {verdict.seconds:.0f} s: line {verdict.fault.line}, {verdict.fault.key}"
        )
    return [verdicts[fault] for fault, _ in jobs]


def _verdicts(jobs: Sequence[Job], copies: Sequence[Copy]) -> Iterator[tuple[Job, Verdict]]:
    waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[Job, Verdict] | BaseException] = queue.SimpleQueue()
    for job in jobs:
        waiting.put(job)

    def work(copy: Copy) -> None:
        try:
            while True:
                job = waiting.get_nowait()
                done.put((job, copy.try_fault(*job)))
        except queue.Empty:
            return
        except BaseException as error:
            done.put(error)

    with ThreadPoolExecutor(len(copies)) as pool:
        for copy in copies:
            pool.submit(work, copy)
        try:
            for _ in jobs:
                result = done.get()
                if isinstance(result, BaseException):
                    raise result
                yield result
        except BaseException:
            while not waiting.empty():
                waiting.get()
            for copy in copies:
                copy.stop()
            raise


def _key(job: Job) -> tuple[Fault, frozenset[str]]:
    return job[0], frozenset(test.name for test in job[1].tests)
