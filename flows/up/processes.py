"""Which processes are ours: who a process is beyond its number, and all that a `vidrd up` has started.

A number is given again to another process once its owner is dead, so a process is known by its number and its start.
Everything that `vidrd up` starts carries a mark in its environment, and so does whatever that starts in its turn, in
any session and under any parent: what is left of a killed one is found by it.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

MARK = "VIDRD_UP_HOME"
CHILD_MARK = "VIDRD_UP_CHILD"
FLOW_RUN = "PREFECT__FLOW_RUN_ID"
_ROUNDS = 20


@dataclass(frozen=True)
class ProcessId:
    """One process and no other: its number, when it started, and on which machine (container and boot).

    `started` counts clock ticks from the machine's boot, so that it stays the same when the clock is set.
    """

    pid: int
    started: int
    machine: str

    @classmethod
    def of(cls, pid: int) -> ProcessId | None:
        """The process that has this number now; None when there is none, or only what a dead one leaves."""
        started = _started(pid)
        return None if started is None else cls(pid, started, this_machine())

    @classmethod
    def parse(cls, text: str) -> ProcessId | None:
        """Reads what `str` of one wrote; None for anything else."""
        parts = text.strip().split("-")
        if len(parts) != 3 or not (parts[0].isdecimal() and parts[1].isdecimal()):
            return None
        return cls(int(parts[0]), int(parts[1]), parts[2])

    def __str__(self) -> str:
        return f"{self.pid}-{self.started}-{self.machine}"

    @property
    def is_here(self) -> bool:
        """Whether its number means the same here as where it was taken down."""
        return self.machine == this_machine()

    def lives(self) -> bool:
        """Whether this very process runs; only asked of those that are here."""
        return _started(self.pid) == self.started


@cache
def this_machine() -> str:
    """Ten letters for this boot and this space of process numbers: a container has its own."""
    identity = []
    for source in (
        lambda: Path("/proc/sys/kernel/random/boot_id").read_text(),
        lambda: os.readlink("/proc/self/ns/pid"),
        lambda: os.uname().nodename,
    ):
        try:
            identity.append(source().strip())
        except OSError:
            identity.append("")
    return hashlib.sha256("/".join(identity).encode()).hexdigest()[:10]


def environment_of(pid: int) -> dict[str, str] | None:
    """What a process was started with; None when it is gone or another user's.

    A process that gives itself a title (Ray's do) writes it over the first of these variables, and zeros behind it.
    """
    try:
        block = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="surrogateescape")
    except OSError:
        if Path("/proc/self/environ").exists():
            return None
        try:
            return psutil.Process(pid).environ()
        except psutil.Error:
            return None
    variables = (part.partition("=") for part in block.split("\0") if "=" in part)
    return {name: value for name, _, value in variables}


def marked(home: Path, child: str | None = None) -> list[psutil.Process]:
    """What a `vidrd up` of this home has started and still runs, with all that descends from it.

    `child` keeps to what came of one of its children. This process itself is left out.
    """
    alive = {process.pid: process for process in psutil.process_iter() if _runs(process)}
    found = {pid for pid in alive if _is_marked(environment_of(pid), home, child)}
    below = _children_by_parent(alive.values())
    unseen = list(found)
    while unseen:
        children = below.get(unseen.pop(), set()) - found
        found |= children
        unseen += children
    return [alive[pid] for pid in sorted(found) if pid != os.getpid()]


def _is_marked(environment: Mapping[str, str] | None, home: Path, child: str | None) -> bool:
    if environment is None or environment.get(MARK) != str(home):
        return False
    return child is None or environment.get(CHILD_MARK) == child


def end(processes: Iterable[psutil.Process], patience_s: float) -> None:
    """Asks processes to end, and ends those that have not after `patience_s` seconds."""
    left = [process for process in processes if _runs(process)]
    for how in ("terminate", "kill"):
        for process in left:
            _signal(process, how)
        left = _wait(left, patience_s)


def end_with_children(pid: int, patience_s: float) -> None:
    """Ends a process and all that descends from it."""
    try:
        process = psutil.Process(pid)
        end([process, *process.children(recursive=True)], patience_s)
    except psutil.Error:
        return


def end_marked(home: Path, child: str | None = None, patience_s: float = 3.0) -> list[str]:
    """Ends all that `marked` finds, until nothing is left; says what it was, one line for each family."""
    told: list[str] = []
    for _ in range(_ROUNDS):  # what is just being started shows up in the next round
        left = marked(home, child)
        if not left:
            break
        told += list(_families(left))
        end(left, patience_s)
    return told


def _families(processes: list[psutil.Process]) -> Iterator[str]:
    """One line for each process whose parent is not of them, with the number of those below it."""
    below = _children_by_parent(processes)
    numbers = {process.pid for process in processes}
    for process in processes:
        if _parent(process) in numbers:
            continue
        count, unseen = 0, [process.pid]
        while unseen:
            children = below.get(unseen.pop(), set())
            count += len(children)
            unseen += children
        yield f"{_title(process)}, process {process.pid}" + (f" and {count} below it" if count else "")


def _title(process: psutil.Process) -> str:
    """What a process is in an operator's words: `prefect worker`, `mlflow server`, `run 01939...`."""
    environment = environment_of(process.pid) or {}
    if environment.get(FLOW_RUN):
        return f"run {environment[FLOW_RUN]}"
    return environment.get(CHILD_MARK) or process.name()


def _children_by_parent(processes: Iterable[psutil.Process]) -> dict[int | None, set[int]]:
    children: dict[int | None, set[int]] = {}
    for process in processes:
        children.setdefault(_parent(process), set()).add(process.pid)
    return children


def _parent(process: psutil.Process) -> int | None:
    try:
        return process.ppid()
    except psutil.Error:
        return None


def _wait(processes: list[psutil.Process], patience_s: float) -> list[psutil.Process]:
    """Waits for processes to end, and gives those that have not. How they ended is left for their parents to ask."""
    deadline_s = time.monotonic() + patience_s
    while (left := [process for process in processes if _runs(process)]) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    return left


def _runs(process: psutil.Process) -> bool:
    """Whether this very process runs: not another with its number, and not what a dead one leaves."""
    try:
        return process.is_running() and process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.Error:
        return False


def _signal(process: psutil.Process, how: str) -> None:
    try:
        getattr(process, how)()  # psutil refuses when the number has come to another process meanwhile
    except psutil.Error:
        return


def _started(pid: int) -> int | None:
    """When the process with this number started, in clock ticks; None when it has ended."""
    try:
        # Behind the name, which may hold anything: the state is the third field, the start the 22nd.
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return None if fields[0] in (b"Z", b"X") else int(fields[19])
    except (OSError, IndexError):
        pass
    if Path("/proc/self/stat").exists():
        return None
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else int(process.create_time() * 100)
    except psutil.Error:
        return None
