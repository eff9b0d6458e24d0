"""Measures what is missing of a list of jobs, and keeps each result at once, so that a killed run goes on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from tasks.evaluation.workers import MeasuringPool
from tasks.progress import OnProgress

Found = TypeVar("Found")


@dataclass(frozen=True)
class MeasuringJob(Generic[Found]):
    """A few videos for one actor: it calls `function(*arguments)`."""

    function: Callable[..., Found]
    arguments: tuple[Any, ...]
    num_videos: int


def measure_jobs(
    jobs: Mapping[int, MeasuringJob[Found]],
    missing: Collection[int],
    pool: MeasuringPool,
    keep: Callable[[int, Found], None],
    on_progress: OnProgress | None,
    note: str,
) -> None:
    """Does the jobs whose numbers are in `missing`; `keep(number, found)` is called as soon as each is done.

    `on_progress` hears of videos, those of the jobs that were done before among them. An error that a job raises is
    raised here.
    """
    total = sum(job.num_videos for job in jobs.values())
    done = total - sum(jobs[number].num_videos for number in missing)
    calls = {number: (jobs[number].function, jobs[number].arguments) for number in missing}
    for number, found in pool.run(calls):
        keep(number, found)
        done += jobs[number].num_videos
        if on_progress is not None:
            on_progress(done, total, note)


def batches(total: int, size: int) -> list[range]:
    """Returns the rows of each job; total and size alone decide, so a resumed run has the same jobs."""
    return [range(start, min(start + size, total)) for start in range(0, total, size)]
