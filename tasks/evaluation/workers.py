"""The workers of an evaluation: this process where one is enough, else actors on Ray.

A video is sampled and measured in the same place, so that its frames never travel and never pile up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.cluster_checks import uses_cluster
from tasks.evaluation.networks import Networks, load_i3d
from tasks.model_files import files_digest
from vidrd_model.metrics import check_reference

if TYPE_CHECKING:
    from tasks.evaluation.actors import Actors

Call = tuple[Callable[..., Any], tuple[Any, ...]]
"""A function and its arguments."""

VIDEOS_PER_WORKER = 8


class MeasuringPool:
    """Calls functions that sample and measure: here for few videos, on actors for more or where a cluster is joined.

    A context manager: the actors, which start with the first call, end with it.
    """

    def __init__(self, videos: int) -> None:
        self._videos = videos
        self._actors: Actors | None = None

    def __enter__(self) -> MeasuringPool:
        return self

    def __exit__(self, *_: object) -> None:
        if self._actors is not None:
            self._actors.close()

    def run(self, calls: Mapping[int, Call]) -> Iterator[tuple[int, Any]]:
        """Yields the number and the result of every call as it is done.

        An error of ours that a call raises is raised here as it is.
        """
        if not calls:
            return
        if runs_here(self._videos):
            for number, (function, arguments) in calls.items():
                yield number, function(*arguments)
            return
        if self._actors is None:
            from tasks.evaluation.actors import Actors  # it imports Ray

            self._actors = Actors(-(-self._videos // VIDEOS_PER_WORKER))
        yield from self._actors.run(calls)

    def check_i3d(self, networks: Networks) -> float | None:
        """Does the 151.392 check, where videos are measured, on the weights as they lie in the cache now.

        None without I3D; ModelError when it fails.
        """
        if networks.i3d is None:
            return None
        ((_, distance),) = self.run({0: (_check_i3d, (networks.i3d,))})
        return float(distance)


def runs_here(videos: int) -> bool:
    """Whether so many videos are measured in this process: no cluster is there, and one worker would do them.

    An actor takes a quarter of a minute to start and loads the same models once more.
    """
    return videos <= VIDEOS_PER_WORKER and not uses_cluster()


_checked: dict[str, float] = {}
"""What the check found of weights, by the digest of their bytes: it takes seconds, and the same bytes pass again."""


def _check_i3d(weights: str) -> float:
    digest = files_digest([Path(weights)])
    if digest not in _checked:
        _checked[digest] = check_reference(load_i3d(weights))
    return _checked[digest]
