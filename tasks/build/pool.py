"""The workers of a build on the connected Ray cluster: how many there are and what each may take."""

from __future__ import annotations

from typing import Any

from tasks.build.decoding import decode_source
from tasks.build.judge import ClipJudge
from tasks.build.recipe import Digests, Recipe
from tasks.cluster import ensure_ray

OBJECTS_AHEAD = 8  # a step and a clip each: four clips that a decoder may be ahead
DECODE_RETRIES = 2  # of a worker that dies; an error in the file itself is final


class Pool:
    """Judges, which hold the models, and a way to start decoders; use it as a context manager.

    Without a GPU the judges reserve no CPU: decoders and judges share the processors as the system sees fit, so that
    neither waits while the other has work. With GPUs a judge has one to itself, or the part that the settings say.
    """

    def __init__(self, recipe: Recipe, digests: Digests) -> None:
        ensure_ray()
        import ray

        resources = ray.cluster_resources()
        cpus, gpus = max(1, int(resources.get("CPU", 1))), int(resources.get("GPU", 0))
        build = recipe.build
        num_judges = build.judges or (max(1, int(gpus / build.judge_gpus)) if gpus else cpus)
        threads = None if gpus else max(1, cpus // num_judges)
        judge_class = ray.remote(
            # A worker that is killed comes back; one whose models cannot be loaded does not.
            max_restarts=-1,
            max_task_retries=3,
            num_cpus=0,
            num_gpus=build.judge_gpus if gpus else 0,
            scheduling_strategy="SPREAD",
        )(ClipJudge)
        self.judges: list[Any] = [judge_class.remote(recipe, digests, threads) for _ in range(num_judges)]
        self.num_decoders = build.decoders or cpus
        self._clips = ray.put(recipe.clips)
        self._videos = build.videos
        self._decode = ray.remote(
            num_cpus=1, max_retries=DECODE_RETRIES, _generator_backpressure_num_objects=OBJECTS_AHEAD
        )(decode_source)

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        import ray

        for judge in self.judges:
            ray.kill(judge)

    def decode(self, source: Any) -> Any:
        """Start to decode a source; gives the generator of its steps and clips."""
        return self._decode.remote(source, self._clips, self._videos)


class Workers:
    """A pool that is started when it is first asked for: a build with nothing to do starts no worker."""

    def __init__(self, recipe: Recipe, digests: Digests) -> None:
        self._recipe, self._digests = recipe, digests
        self._pool: Pool | None = None

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *error: object) -> None:
        if self._pool is not None:
            self._pool.__exit__(*error)

    def pool(self) -> Pool:
        """The pool, on the connected Ray cluster."""
        if self._pool is None:
            self._pool = Pool(self._recipe, self._digests)
        return self._pool
