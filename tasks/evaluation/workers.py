"""The actors of an evaluation on Ray: each holds the networks and the model, samples videos and measures them.

A video is sampled and measured in the same place, so that its frames never travel and never pile up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tasks.evaluation.networks import Networks, load_i3d

_VIDEOS_PER_ACTOR = 8
_JOBS_AHEAD = 2  # for each actor, so that none waits for the driver


class Measurer:
    """What one actor does: calls of functions with the networks, on one thread without a GPU."""

    def __init__(self, networks: Networks, threads: int | None) -> None:
        import torch

        self._networks = networks
        if threads is not None:
            torch.set_num_threads(threads)

    def call(self, function: Any, arguments: tuple[Any, ...]) -> Any:
        """`function(*arguments, networks)`."""
        return function(*arguments, self._networks)


class MeasuringPool:
    """As many actors as the cluster has GPUs, else CPUs; fewer for few videos. A context manager."""

    def __init__(self, networks: Networks, videos: int) -> None:
        import ray

        resources = ray.cluster_resources()
        cpus, gpus = max(1, int(resources.get("CPU", 1))), int(resources.get("GPU", 0))
        # One takes a quarter of a minute to start: for little work it is sooner done than several.
        count = min(gpus or cpus, -(-videos // _VIDEOS_PER_ACTOR))
        threads = None if gpus else max(1, cpus // count)
        # A worker that is killed comes back and does its job again.
        actor = ray.remote(
            num_cpus=1,
            num_gpus=1 if gpus else 0,
            max_restarts=-1,
            max_task_retries=3,
            scheduling_strategy="SPREAD",
        )(Measurer)
        self._actors: list[Any] = [actor.remote(networks, threads) for _ in range(count)]

    def __enter__(self) -> MeasuringPool:
        return self

    def __exit__(self, *_: object) -> None:
        import ray

        for actor in self._actors:
            ray.kill(actor)

    def run(self, function: Any, jobs: Mapping[int, tuple[Any, ...]]) -> Iterator[tuple[int, Any]]:
        """Yields (number, `function(*arguments, networks)`) of every job as it is done.

        An error of ours that a job raises is raised here as it is.
        """
        import ray

        waiting = iter(jobs.items())
        running: dict[Any, tuple[int, Any]] = {}

        def start(actor: Any) -> None:
            job = next(waiting, None)
            if job is not None:
                running[actor.call.remote(function, job[1])] = (job[0], actor)

        for actor in self._actors * _JOBS_AHEAD:
            start(actor)
        while running:
            (done,), _ = ray.wait(list(running), num_returns=1)
            number, actor = running.pop(done)
            start(actor)
            yield number, _result(done)


def check_i3d(networks: Networks) -> float:
    """The 151.392 check on the weights as they lie in the cache now; ModelError when it fails."""
    from vidrd_model.metrics import check_reference

    assert networks.i3d is not None
    return check_reference(load_i3d(networks.i3d))


def _result(ref: Any) -> Any:
    import ray

    try:
        return ray.get(ref)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
