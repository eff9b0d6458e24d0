"""Attacks the workers of an evaluation: an actor that is killed in its work, errors of ours, and where calls run."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tasks import cluster_checks
from tasks.errors import RequestError
from tasks.evaluation.measure_jobs import MeasuringJob, measure_jobs
from tasks.evaluation.workers import VIDEOS_PER_WORKER, MeasuringPool


@pytest.fixture(scope="module")
def pool_on_ray(ray_session: None) -> Iterator[MeasuringPool]:
    """A pool of more videos than one worker measures."""
    with MeasuringPool(videos=VIDEOS_PER_WORKER + 1) as pool:
        yield pool


def _square(marks: Path, number: int, dies: bool) -> int:
    """The square of a number; the first time, a call that dies takes its process with it."""
    mark = marks / str(number)
    if dies and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def _refuse(number: int) -> int:
    raise RequestError(f"video {number}: not like the others")


def _where() -> tuple[int, int]:
    return os.getpid(), torch.get_num_threads()


@pytest.mark.slow
@pytest.mark.gate
def test_the_jobs_of_a_killed_actor_are_done_again_once_each(
    pool_on_ray: MeasuringPool, tmp_path: Path
) -> None:
    jobs = {
        number: MeasuringJob(_square, (tmp_path, number, number == 3), num_videos=2) for number in range(6)
    }
    kept: list[tuple[int, int]] = []
    told: list[tuple[int, int | None, str]] = []
    measure_jobs(
        jobs,
        [1, 2, 3, 4, 5],
        pool_on_ray,
        lambda number, found: kept.append((number, found)),
        lambda done, total, note: told.append((done, total, note)),
        "squared",
    )
    assert (tmp_path / "3").is_file()
    assert sorted(kept) == [(1, 1), (2, 4), (3, 9), (4, 16), (5, 25)]
    assert told == [(done, 12, "squared") for done in (4, 6, 8, 10, 12)]


@pytest.mark.parametrize(
    "where", [pytest.param("pool_on_ray", marks=[pytest.mark.slow, pytest.mark.gate]), "measuring_pool"]
)
def test_an_error_of_ours_comes_as_it_is_and_the_pool_works_on(
    where: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    pool = request.getfixturevalue(where)
    with pytest.raises(RequestError, match=r"^video 1: not like the others$"):
        list(pool.run({number: (_refuse, (number,)) for number in range(1, 2)}))
    assert dict(pool.run({7: (_square, (tmp_path, 7, False))})) == {7: 49}


@pytest.mark.slow
@pytest.mark.gate
def test_few_videos_are_measured_in_this_process_and_more_on_actors(pool_on_ray: MeasuringPool) -> None:
    calls: dict[int, Any] = {number: (_where, ()) for number in range(4)}
    with MeasuringPool(videos=VIDEOS_PER_WORKER) as pool:
        assert dict(pool.run(calls)) == dict.fromkeys(calls, _where())
    assert os.getpid() not in {pid for pid, _ in dict(pool_on_ray.run(calls)).values()}


@pytest.mark.slow
@pytest.mark.gate
def test_a_session_that_somebody_else_started_measures_even_one_video(
    ray_session: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_checks, "_own_session", None)
    with MeasuringPool(videos=1) as pool:
        ((_, (pid, _)),) = pool.run({0: (_where, ())})
    assert pid != os.getpid()


def test_without_calls_no_actor_is_started() -> None:
    with MeasuringPool(videos=VIDEOS_PER_WORKER + 1) as pool:
        assert list(pool.run({})) == []
