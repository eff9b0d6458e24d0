"""The workers of a build on the connected Ray cluster: how many there are, what each may take, and the actors.

An actor holds its models in a process of its own: the driver imports none of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayError, RayTaskError, WorkerCrashedError
from ray.util import ActorPool

from storage.dataset.tables import Fragments, RowRef
from storage.errors import StorageError
from tasks.clips.settings import ClipSettings
from tasks.cluster import check_room, room_for, threads_of
from tasks.corpora.records import SourceRecord
from tasks.errors import ItemError, RequestError
from tasks.filters.settings import FilterSettings
from tasks.ingest.cut_captions import count_cut_captions
from tasks.ingest.decoding import decode_source
from tasks.ingest.executor import (
    CALLS_PER_WORKER,
    DECODE_RETRIES,
    ITEMS_PER_WORKER,
    DecoderDied,
    EncodeTexts,
    WorkLost,
)
from tasks.ingest.items import DecodedClip, DecodeStep, ScoredBatch, Seconds
from tasks.ingest.pace import Pace
from tasks.ingest.recipe import Digests, Recipe
from tasks.ingest.rewriting import Rewrite, Rewritten, rewrite_rows
from tasks.ingest.rows import write_clip_rows

ACTORS_PER_WRITER = 8
OBJECTS_AHEAD = 8  # a step and a clip each: four clips that a decoder may be ahead


@contextmanager
def errors_of_ours() -> Iterator[None]:
    """Raises an error of ours as a worker raised it, one line, without the worker's traceback in it."""
    try:
        yield
    except RayTaskError as error:
        if isinstance(error.cause, ItemError | RequestError | StorageError):
            raise error.cause from None
        raise


@contextmanager
def _losses() -> Iterator[None]:
    """Raises WorkLost for what is to be done again; an actor that cannot be started at all is the request's fault."""
    try:
        yield
    except ActorDiedError as error:
        last_line = str(error).strip().splitlines()[-1].strip()
        raise RequestError(f"model, clip: the worker that holds the models died: {last_line}") from error
    except RayError as error:
        raise WorkLost from error


class RayPool:
    """An `Executor` on the cluster: scoring actors, which hold the models, and a task for each source.

    Without a GPU the actors reserve no CPU: decoders and actors share the processors as the system sees fit, so that
    neither waits while the other has work. With GPUs an actor has one to itself, or the part that the settings say.
    `items` is how many sources or rows there are to do.
    """

    is_local = False

    def __init__(self, recipe: Recipe, digests: Digests, items: int) -> None:
        resources = ray.cluster_resources()
        cpus, gpus = max(1, int(resources.get("CPU", 1))), int(resources.get("GPU", 0))
        build = recipe.build
        actors = build.judges or (max(1, room_for({"GPU": build.judge_gpus})) if gpus else cpus)
        actors = min(actors, -(-items // ITEMS_PER_WORKER))
        if gpus:
            check_room("build.judge_gpus", actors, {"GPU": build.judge_gpus})
        threads = None if gpus else threads_of(actors)
        # A worker that is killed comes back; one whose models cannot be loaded does not.
        options = {"max_restarts": -1, "max_task_retries": 3, "num_cpus": 0, "scheduling_strategy": "SPREAD"}
        scoring_class = ray.remote(**options, num_gpus=build.judge_gpus if gpus else 0)(ScoringActor)
        self.scoring: list[Any] = [scoring_class.remote(recipe, digests, threads) for _ in range(actors)]
        self.num_scoring = actors
        self._writing = self.scoring
        if items > ITEMS_PER_WORKER:
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

    def measure_pace(self, recipe: Recipe, noted: Pace | None) -> Any:
        """Has the first actor time the models."""
        return self.scoring[0].pace.remote(recipe.clips, noted)

    def pace(self, measuring: Any) -> Pace:
        """Gives what it found."""
        with _losses():
            pace: Pace = ray.get(measuring)
        return pace

    def decode(self, source: SourceRecord, recipe: Recipe) -> Any:
        """Starts a task; its generator is the handle."""
        return self._decode.remote(source, recipe.clips, recipe.build.videos, recipe.measures, recipe.limits)

    def take_step(self, decoding: Any) -> tuple[DecodeStep, Any | None]:
        """Gives a step, and the ref of the clip that follows it: the frames do not pass through the driver."""
        try:
            step: DecodeStep = ray.get(next(decoding))
        except (WorkerCrashedError, OutOfMemoryError) as error:
            raise DecoderDied(type(error).__name__) from error
        except RayError as error:
            raise WorkLost from error
        return step, next(decoding) if step.clip_id is not None else None

    def stop(self, decoding: Any) -> None:
        """Kills the task's worker."""
        ray.cancel(decoding, force=True)

    def score(
        self, worker: int, settings: FilterSettings, reuse: Sequence[RowRef | None], clips: Sequence[Any]
    ) -> tuple[Any, list[Any]]:
        """Calls an actor; gives the refs of the outcomes and of each row."""
        method = self.scoring[worker].score_clips.options(num_returns=1 + len(clips))
        scored, *rows = method.remote(settings, reuse, *clips)
        return scored, rows

    def scored(self, scoring: Any) -> ScoredBatch:
        """Gives the outcomes."""
        with _losses():
            batch: ScoredBatch = ray.get(scoring)
        return batch

    def wait(self, handles: Collection[Any], timeout_s: float) -> Any | None:
        """Waits for a generator or an actor."""
        ready, _ = ray.wait(list(handles), num_returns=1, timeout=timeout_s, fetch_local=False)
        return ready[0] if ready else None

    def write(self, dataset_dir: Path, rows: Sequence[Any]) -> Any:
        """Calls a writing actor; gives the ref of `write_clip_rows`'s answer."""
        writer = self._writing[self._writes % len(self._writing)]
        self._writes += 1
        return writer.write.remote(dataset_dir, *rows)

    def written(self, writing: Any) -> tuple[Fragments, Fragments, Seconds]:
        """Gives that answer; what `write_clip_rows` itself raised is raised as it was."""
        try:
            fragments: tuple[Fragments, Fragments, Seconds] = ray.get(writing)
        except RayTaskError as error:
            if isinstance(error.cause, RayError):
                raise WorkLost from error
            if isinstance(error.cause, OSError | StorageError):
                raise error.cause from error
            raise
        except RayError as error:
            raise WorkLost from error
        return fragments

    def count_cut_captions(self, dataset_dir: Path, model: str, clip_model: str) -> dict[str, Any]:
        """Counts the captions that a model cuts, on an actor: it has loaded what takes the driver seconds."""
        with errors_of_ours():
            return ray.get(self.scoring[0].count_cut_captions.remote(dataset_dir, model, clip_model))

    def rewrite(self, chunks: Iterable[list[Rewrite]]) -> Iterator[Rewritten]:
        """Shares the chunks of rows out among the scoring actors, and gives what each becomes."""
        actors = ActorPool(self.scoring * CALLS_PER_WORKER)
        with errors_of_ours():
            yield from actors.map_unordered(lambda actor, chunk: actor.rewrite.remote(chunk), chunks)


class ScoringActor:
    """Scores, decides and encodes with the models of a build; see `ScoringModels`."""

    def __init__(self, recipe: Recipe, digests: Digests, threads: int | None = None) -> None:
        import torch  # and so do these models; the driver does without

        from tasks.ingest.scoring import ScoringModels

        if threads is not None:
            torch.set_num_threads(threads)
        self._models = ScoringModels(recipe, digests, threads or 1)

    def pace(self, clips: ClipSettings, noted: Pace | None) -> Pace:
        """See `ScoringModels.pace`."""
        return self._models.pace(clips, noted)

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


@contextmanager
def text_encoder_on_ray(model: str) -> Iterator[EncodeTexts]:
    """Gives what makes captions' states, on an actor: text is a small part of the work, and one does."""
    # Where the scoring actors hold every GPU it shares one of theirs.
    gpus = min(1, int(ray.available_resources().get("GPU", 0)))
    actor_class = ray.remote(num_cpus=0, num_gpus=gpus, max_restarts=-1, max_task_retries=3)(TextActor)
    encoder = actor_class.remote(model)
    with errors_of_ours():
        yield lambda captions: ray.get(encoder.encode.remote(captions))
    ray.kill(encoder)
