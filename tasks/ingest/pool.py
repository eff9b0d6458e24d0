"""The workers of a build on the connected Ray cluster: how many there are and what each may take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from storage.errors import StorageError
from tasks.cluster import check_room, ensure_ray, room_for
from tasks.corpora.records import SourceRecord
from tasks.errors import ItemError, RequestError
from tasks.ingest.decoding import decode_source
from tasks.ingest.recipe import Digests, Recipe
from tasks.ingest.scoring import ClipJudge
from tasks.ingest.writing import RowWriter

ITEMS_PER_JUDGE = 64
JUDGES_PER_WRITER = 8
OBJECTS_AHEAD = 8  # a step and a clip each: four clips that a decoder may be ahead
DECODE_RETRIES = 2  # of a worker that dies; an error in the file itself is final


def result_of(ref: Any) -> Any:
    """What a worker gives; an error of ours is raised as it was, one line, without the worker's traceback in it."""
    import ray

    try:
        return ray.get(ref)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, ItemError | RequestError | StorageError):
            raise error.cause from None
        raise


class Pool:
    """Judges, which hold the models, and a way to start decoders; use it as a context manager.

    Without a GPU the judges reserve no CPU: decoders and judges share the processors as the system sees fit, so that
    neither waits while the other has work. With GPUs a judge has one to itself, or the part that the settings say.
    `items` is how many sources or rows there are to do.
    """

    def __init__(self, recipe: Recipe, digests: Digests, items: int) -> None:
        ensure_ray()
        import ray

        resources = ray.cluster_resources()
        cpus, gpus = max(1, int(resources.get("CPU", 1))), int(resources.get("GPU", 0))
        build = recipe.build
        num_judges = build.judges or (max(1, room_for({"GPU": build.judge_gpus})) if gpus else cpus)
        # A judge takes a quarter of a minute to start: for little work one is sooner done than several.
        num_judges = min(num_judges, -(-items // ITEMS_PER_JUDGE))
        if gpus:
            check_room("build.judge_gpus", num_judges, {"GPU": build.judge_gpus})
        threads = None if gpus else max(1, cpus // num_judges)
        # A worker that is killed comes back; one whose models cannot be loaded does not.
        options = {"max_restarts": -1, "max_task_retries": 3, "num_cpus": 0, "scheduling_strategy": "SPREAD"}
        judge_class = ray.remote(**options, num_gpus=build.judge_gpus if gpus else 0)(ClipJudge)
        self.judges: list[Any] = [judge_class.remote(recipe, digests, threads) for _ in range(num_judges)]
        # No CPU reserved: writing must not queue behind a decoder that may take an hour over its film.
        writer_class = ray.remote(**options)(RowWriter)
        self._writers: list[Any] = [writer_class.remote() for _ in range(-(-num_judges // JUDGES_PER_WRITER))]
        self._writes = 0
        self.num_decoders = build.decoders or cpus
        self._decode = ray.remote(
            num_cpus=1, max_retries=DECODE_RETRIES, _generator_backpressure_num_objects=OBJECTS_AHEAD
        )(decode_source)

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        import ray

        for actor in (*self.judges, *self._writers):
            ray.kill(actor)

    def decode(self, source: SourceRecord, recipe: Recipe) -> Any:
        """Start to decode a source; gives the generator of its steps and clips."""
        return self._decode.remote(source, recipe.clips, recipe.build.videos)

    def write(self, dataset_dir: Path, rows: Sequence[Any]) -> Any:
        """Start to write rows, given as Ray refs, into fragments; gives the ref of `write_clip_rows`'s answer."""
        writer = self._writers[self._writes % len(self._writers)]
        self._writes += 1
        return writer.write.remote(dataset_dir, *rows)


class Workers:
    """A pool that is started when it is first asked for: a build with nothing to do starts no worker.

    Builds one after the other may share it, as long as their models are the same.
    """

    def __init__(self, recipe: Recipe, digests: Digests) -> None:
        self._recipe, self._digests = recipe, digests
        self._pool: Pool | None = None

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *error: object) -> None:
        if self._pool is not None:
            self._pool.__exit__(*error)

    def fit(self, recipe: Recipe) -> bool:
        """Whether a build by this recipe can use these workers: they hold its models, in its batches."""
        return _models(self._recipe) == _models(recipe)

    def pool(self, items: int) -> Pool:
        """The pool, started for so many sources or rows unless it is there."""
        if self._pool is None:
            self._pool = Pool(self._recipe, self._digests, items)
        return self._pool


def _models(recipe: Recipe) -> tuple[object, ...]:
    build = recipe.build
    return recipe.model, recipe.clip, recipe.captioner, recipe.aesthetic, build.batch_clips, build.latents_std
