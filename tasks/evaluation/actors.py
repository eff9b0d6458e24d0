"""The actors of an evaluation on Ray, each with models that it loads once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import ray
import torch
from ray.util import ActorPool

from tasks.cluster import ensure_ray, threads_of

if TYPE_CHECKING:
    from tasks.evaluation.workers import Call

_CALLS_PER_ACTOR = 2  # one at work and one waiting, so that none waits for the driver


class Measurer:
    """One actor: it calls functions, on one thread without a GPU."""

    def __init__(self, threads: int | None) -> None:
        if threads is not None:
            torch.set_num_threads(threads)

    def call(self, number: int, function: Any, arguments: tuple[Any, ...]) -> tuple[int, Any]:
        """Returns the number, by which results in any order are told apart, and `function(*arguments)`."""
        return number, function(*arguments)


class Actors:
    """As many actors as the cluster has GPUs, else CPUs, and no more than are asked for."""

    def __init__(self, most: int) -> None:
        ensure_ray()
        resources = ray.cluster_resources()
        cpus, gpus = max(1, int(resources.get("CPU", 1))), int(resources.get("GPU", 0))
        count = min(gpus or cpus, most)
        threads = None if gpus else threads_of(count)
        # Ray starts an actor that is killed again, and gives it its calls once more.
        actor = ray.remote(
            num_cpus=1,
            num_gpus=1 if gpus else 0,
            max_restarts=-1,
            max_task_retries=3,
            scheduling_strategy="SPREAD",
        )(Measurer)
        self._actors = [actor.remote(threads) for _ in range(count)]

    def close(self) -> None:
        """Ends the actors."""
        for actor in self._actors:
            ray.kill(actor)

    def run(self, calls: Mapping[int, Call]) -> Iterator[tuple[int, Any]]:
        """Yields the number and the result of every call as it is done; raises our error of a call as it is."""
        # An actor that stands in the pool twice has two calls at a time. Every run has a pool of its own: one that was
        # left in its middle would still wait for its calls.
        pool = ActorPool(self._actors * _CALLS_PER_ACTOR)
        for number, (function, arguments) in calls.items():
            pool.submit(lambda actor, call: actor.call.remote(*call), (number, function, arguments))
        while pool.has_next():
            try:
                yield pool.get_next_unordered()
            except ray.exceptions.RayTaskError as error:
                raise error.cause from None
