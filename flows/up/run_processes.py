"""Which process a flow run is: how commands say it, and how the processes of a worker's runs are found."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import psutil

from flows.up.processes import FLOW_RUN, ProcessId, end, environment_of, marked

_TAG = "process-"


def process_tag() -> str:
    """The tag by which a run that this process runs itself says so: it is there as soon as the run is."""
    return f"{_TAG}{ProcessId.of(os.getpid())}"


def tagged_process(tags: Iterable[str]) -> ProcessId | None:
    """The process of a run that a command runs; None for one that a worker runs."""
    for tag in tags:
        if tag.startswith(_TAG) and (process := ProcessId.parse(tag.removeprefix(_TAG))):
            return process
    return None


@dataclass
class WorkerRuns:
    """The processes that run workers' flow runs on this machine, and the workers, as far as this user sees them."""

    _seen: dict[UUID, ProcessId] = field(default_factory=dict)
    _found: dict[UUID, ProcessId] = field(default_factory=dict)
    _worker_starts_s: list[float] = field(default_factory=list)

    def look(self) -> None:
        """Looks through all processes; those found before are remembered as long as they live."""
        self._found, self._worker_starts_s = {}, []
        for process in psutil.process_iter():
            try:
                arguments = process.cmdline()
                if is_worker(arguments) and _may_serve_our_server(process.pid):
                    self._worker_starts_s.append(process.create_time())
                elif _is_engine(arguments):
                    self._take(process.pid)
            except psutil.Error:
                continue
        for run_id, process_id in self._seen.items():
            if run_id not in self._found and process_id.lives():
                self._found[run_id] = process_id
        self._seen = dict(self._found)

    def process_of(self, run_id: UUID) -> ProcessId | None:
        """The living process of a run."""
        return self._found.get(run_id)

    def may_be_submitting(self, since_s: float) -> bool:
        """Whether a worker lives that was there at that time (seconds since 1970), and so may be starting a run."""
        return any(start_s <= since_s for start_s in self._worker_starts_s)

    def _take(self, pid: int) -> None:
        run, process_id = _run_of(pid), ProcessId.of(pid)
        if run is not None and process_id is not None:
            self._found[run] = process_id


@dataclass
class Leftovers:
    """What the dead runs of a worker have left running, Ray's processes mostly."""

    home: Path
    _before: set[ProcessId] = field(default_factory=set)

    def end(self, runs: WorkerRuns) -> list[str]:
        """Ends those whose run had no process at the last call either; one line for each."""
        found = {}
        for process in marked(self.home, "worker"):
            run, process_id = _run_of(process.pid), ProcessId.of(process.pid)
            if run is not None and process_id is not None and runs.process_of(run) is None:
                found[process_id] = (
                    process,
                    f"{process.name()}, process {process.pid}, of the dead run {run}",
                )
        again = [found[process_id] for process_id in found.keys() & self._before]
        self._before = set(found)
        end([process for process, _ in again], patience_s=3.0)
        return [line for _, line in again]


def _run_of(pid: int) -> UUID | None:
    """The flow run in whose environment a process was started."""
    try:
        return UUID((environment_of(pid) or {})[FLOW_RUN])
    except (KeyError, ValueError):
        return None


def _may_serve_our_server(worker_pid: int) -> bool:
    """Whether a worker may be one of the Prefect server that this process talks to.

    A second `vidrd up` on the machine has a worker too, which starts none of our runs.
    """
    from prefect.settings import PREFECT_API_URL

    its = (environment_of(worker_pid) or {}).get("PREFECT_API_URL")
    return its in (None, "", PREFECT_API_URL.value())


def is_worker(arguments: list[str]) -> bool:
    return any("prefect" in part for part in arguments[:4]) and "worker" in arguments and "start" in arguments


def _is_engine(arguments: list[str]) -> bool:
    """Whether it is Prefect's own process of a run. What a run starts, Ray's say, inherits the run's number."""
    return any(
        part in ("prefect.engine", "prefect.flow_engine", "prefect.runner._workspace_supervisor")
        or part.endswith("_workspace_runtime_bootstrap.py")
        for part in arguments[:4]
    )
