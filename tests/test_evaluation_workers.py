"""Attacks the actors of an evaluation: a worker that is killed in its work, and errors of ours."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tasks.errors import RequestError
from tasks.evaluation.measure_jobs import MeasuringJob, measure_jobs
from tasks.evaluation.workers import MeasuringPool


def _square(marks: Path, number: int, dies: bool) -> int:
    """The square of a number; the first time, a call that dies takes its process with it."""
    mark = marks / str(number)
    if dies and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def _refuse(number: int) -> int:
    raise RequestError(f"video {number}: not like the others")


def test_the_jobs_of_a_killed_actor_are_done_again_once_each(
    measuring_pool: MeasuringPool, tmp_path: Path
) -> None:
    jobs = {
        number: MeasuringJob(_square, (tmp_path, number, number == 3), num_videos=2) for number in range(6)
    }
    kept: list[tuple[int, int]] = []
    told: list[tuple[int, int | None, str]] = []
    measure_jobs(
        jobs,
        [1, 2, 3, 4, 5],
        measuring_pool,
        lambda number, found: kept.append((number, found)),
        lambda done, total, note: told.append((done, total, note)),
        "squared",
    )
    assert (tmp_path / "3").is_file()
    assert sorted(kept) == [(1, 1), (2, 4), (3, 9), (4, 16), (5, 25)]
    assert told == [(done, 12, "squared") for done in (4, 6, 8, 10, 12)]


def test_an_error_of_ours_comes_as_it_is_and_the_pool_works_on(
    measuring_pool: MeasuringPool, tmp_path: Path
) -> None:
    with pytest.raises(RequestError, match=r"^video 1: not like the others$"):
        list(measuring_pool.run({number: (_refuse, (number,)) for number in range(1, 2)}))
    assert dict(measuring_pool.run({7: (_square, (tmp_path, 7, False))})) == {7: 49}


def test_without_calls_no_actor_is_started() -> None:
    with MeasuringPool(videos=4) as pool:
        assert list(pool.run({})) == []
