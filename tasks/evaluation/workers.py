"""The actors of an evaluation on Ray: each samples videos and measures them, with models that it loads once.

A video is sampled and measured in the same place, so that its frames never travel and never pile up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import ray
import torch
from ray.util import ActorPool

from tasks.cluster import ensure_ray, threads_of
from tasks.evaluation.networks import Networks, load_i3d
from vidrd_model.metrics import check_reference

Call = tuple[Callable[..., Any], tuple[Any, ...]]
"""A function and its arguments."""

_VIDEOS_PER_ACTOR = 8
_CALLS_PER_ACTOR = 2  # one at work and one waiting, so that none waits for the driver


class Measurer:
    """One actor: it calls functions, on one thread without a GPU."""

    def __init__(self, threads: int | None) -> None:
        if threads is not None:
            torch.set_num_threads(threads)

    def call(self, number: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[int, Any]:
        """Returns the number, by which results in any order are told apart, and `function(*arguments)`."""
        return number, function(*arguments)


class MeasuringPool:
    """As many actors as the cluster has GPUs, else CPUs, fewer for few videos; they start with the first call.

    A context manager: the actors end with it.
    """

    def __init__(self, videos: int) -> None:
        self._videos = videos
        self._actors: list[Any] = []

    def __enter__(self) -> MeasuringPool:
        return self

    def __exit__(self, *_: object) -> None:
        for actor in self._actors:
            ray.kill(actor)

    def run(self, calls: Mapping[int, Call]) -> Iterator[tuple[int, Any]]:
        """Yields the number and the result of every call as it is done.

        An error of ours that a call raises is raised here as it is.
        """
        if not calls:
            return
        self._start()
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

    def check_i3d(self, networks: Networks) -> float | None:
        """Does the 151.392 check, in an actor, on the weights as they lie in the cache now; None without I3D.

        ModelError when it fails.
        """
        if networks.i3d is None:
            return None
        ((_, distance),) = self.run({0: (_check_i3d, (networks.i3d,))})
        return float(distance)

    def _start(self) -> None:
        if self._actors:
            return
        ensure_ray()
        resources = ray.cluster_resources()
        cpus, gpus = max(1, int(resources.get("CPU", 1))), int(resources.get("GPU", 0))
        # One takes a quarter of a minute to start: for little work it is sooner done than several.
        count = min(gpus or cpus, -(-self._videos // _VIDEOS_PER_ACTOR))
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


def _check_i3d(weights: str) -> float:
    return check_reference(load_i3d(weights))
