"""The workers of a build on the connected Ray cluster: how many there are, what each may take, and the actors.

An actor holds its models in a process of its own: the driver imports none of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray.util import ActorPool

from storage.dataset.tables import Fragments, RowRef
from storage.errors import StorageError
from tasks.cluster import check_room, room_for
from tasks.corpora.records import SourceRecord
from tasks.errors import ItemError, RequestError
from tasks.filters.settings import FilterSettings
from tasks.ingest.cut_captions import count_cut_captions
from tasks.ingest.decoding import decode_source
from tasks.ingest.items import DecodedClip, Seconds
from tasks.ingest.recipe import Digests, Recipe
from tasks.ingest.rewriting import Rewrite, Rewritten, rewrite_rows
from tasks.ingest.rows import write_clip_rows

ITEMS_PER_ACTOR = 64
ACTORS_PER_WRITER = 8
CALLS_PER_ACTOR = 2  # one in work, one waiting
OBJECTS_AHEAD = 8  # a step and a clip each: four clips that a decoder may be ahead
DECODE_RETRIES = 2  # of a worker that dies; an error in the file itself is final


@contextmanager
def errors_of_ours() -> Iterator[None]:
    """Raises an error of ours as a worker raised it, one line, without the worker's traceback in it."""
    try:
        yield
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, ItemError | RequestError | StorageError):
            raise error.cause from None
        raise


class Pool:
    """Scoring actors, which hold the models, and a way to start decoders; to be closed.

    Without a GPU the actors reserve no CPU: decoders and actors share the processors as the system sees fit, so that
    neither waits while the other has work. With GPUs an actor has one to itself, or the part that the settings say.
    `items` is how many sources or rows there are to do.
    """

    def __init__(self, recipe: Recipe, digests: Digests, items: int) -> None:
        resources = ray.cluster_resources()
        cpus, gpus = max(1, int(resources.get("CPU", 1))), int(resources.get("GPU", 0))
        build = recipe.build
        actors = build.judges or (max(1, room_for({"GPU": build.judge_gpus})) if gpus else cpus)
        # An actor takes a quarter of a minute to start: for little work one is sooner done than several.
        actors = min(actors, -(-items // ITEMS_PER_ACTOR))
        if gpus:
            check_room("build.judge_gpus", actors, {"GPU": build.judge_gpus})
        threads = None if gpus else max(1, cpus // actors)
        # A worker that is killed comes back; one whose models cannot be loaded does not.
        options = {"max_restarts": -1, "max_task_retries": 3, "num_cpus": 0, "scheduling_strategy": "SPREAD"}
        scoring_class = ray.remote(**options, num_gpus=build.judge_gpus if gpus else 0)(ScoringActor)
        self.scoring: list[Any] = [scoring_class.remote(recipe, digests, threads) for _ in range(actors)]
        self._writing = self.scoring
        if items > ITEMS_PER_ACTOR:
            # No CPU reserved: writing must not queue behind a decoder that may take an hour over its film.
            writing_class = ray.remote(**options)(WritingActor)
            self._writing = [writing_class.remote() for _ in range(-(-actors // ACTORS_PER_WRITER))]
        self._writes = 0
        self.num_decoders = build.decoders or cpus
        self._decode = ray.remote(
            num_cpus=1, max_retries=DECODE_RETRIES, _generator_backpressure_num_objects=OBJECTS_AHEAD
        )(decode_source)

    def close(self) -> None:
        """Ends the actors."""
        for actor in {*self.scoring, *self._writing}:
            ray.kill(actor)

    def decode(self, source: SourceRecord, recipe: Recipe) -> Any:
        """Starts to decode a source; gives the generator of its steps and clips."""
        return self._decode.remote(source, recipe.clips, recipe.build.videos)

    def write(self, dataset_dir: Path, rows: Sequence[Any]) -> Any:
        """Starts to write rows, given as Ray refs, into fragments; gives the ref of `write_clip_rows`'s answer."""
        writer = self._writing[self._writes % len(self._writing)]
        self._writes += 1
        return writer.write.remote(dataset_dir, *rows)

    def count_cut_captions(self, dataset_dir: Path, model: str, clip_model: str) -> dict[str, Any]:
        """Counts the captions that a model cuts, on an actor: it has loaded what takes the driver seconds."""
        with errors_of_ours():
            return ray.get(self.scoring[0].count_cut_captions.remote(dataset_dir, model, clip_model))

    def rewrite(self, chunks: Iterable[list[Rewrite]]) -> Iterator[Rewritten]:
        """Shares the chunks of rows out among the scoring actors, and gives what each becomes."""
        actors = ActorPool(self.scoring * CALLS_PER_ACTOR)
        with errors_of_ours():
            yield from actors.map_unordered(lambda actor, chunk: actor.rewrite.remote(chunk), chunks)


class ScoringActor:
    """Scores, decides and encodes with the models of a build; see `ScoringModels`."""

    def __init__(self, recipe: Recipe, digests: Digests, threads: int | None = None) -> None:
        from tasks.ingest.scoring import ScoringModels  # it imports torch, which the driver does without

        self._models = ScoringModels(recipe, digests, threads)

    def score_clips(
        self, settings: FilterSettings, reuse: Sequence[RowRef | None], *batch: DecodedClip
    ) -> list[Any]:
        """See `ScoringModels.score_clips`."""
        return self._models.score_clips(settings, reuse, *batch)

    def rewrite(self, jobs: Sequence[Rewrite]) -> Rewritten:
        """Writes rows again with new scores or latents, into fragments that nobody sees yet."""
        return rewrite_rows(jobs, self._models)

    def count_cut_captions(self, dataset_dir: Path, model: str, clip_model: str) -> dict[str, Any]:
        """See `tasks.ingest.cut_captions`."""
        return count_cut_captions(dataset_dir, model, clip_model)

    def write(self, dataset_dir: Path, *rows: dict[str, Any]) -> tuple[Fragments, Fragments, Seconds]:
        """See `write_clip_rows`: where there is little to write, no actor is started for it alone."""
        return write_clip_rows(dataset_dir, *rows)


class WritingActor:
    """Writes rows: Ray would start a process anew for every task that comes after a pause."""

    def write(self, dataset_dir: Path, *rows: dict[str, Any]) -> tuple[Fragments, Fragments, Seconds]:
        """See `write_clip_rows`."""
        return write_clip_rows(dataset_dir, *rows)


class TextActor:
    """Holds a text encoder, loaded once for all captions."""

    def __init__(self, model: str) -> None:
        from tasks.captions.text_states import TextEncoder  # it imports torch and transformers

        self._encoder = TextEncoder(model)

    def encode(self, captions: list[str]) -> np.ndarray:
        """See `TextEncoder.encode`."""
        return self._encoder.encode(captions)
