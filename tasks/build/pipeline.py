"""The stages of a build overlapped on Ray, with a bound on everything that is under way.

    sources -> decode tasks (one per source, streaming clips) -> judges (CLIP and VAE) -> finished sources

A decoder that is far enough ahead is paused by Ray; the driver takes no further clip while every judge
has its share; and it starts no further decoder than there are CPUs. So what is in memory at once is a
few dozen clips, whatever the corpora hold. Frames never pass through the driver.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import ray

from storage.writer import Signature
from tasks.build.items import DecodeStep, Failure, Judged, Seconds, Verdict, add_seconds
from tasks.build.workers import ClipJudge, Models, decode_source
from tasks.clips.settings import ClipSettings
from tasks.corpora.records import SourceRecord
from tasks.errors import RequestError
from tasks.filters.settings import FilterSettings

BATCH_CLIPS = 8
BATCHES_PER_JUDGE = 2  # one in work, one waiting
OBJECTS_AHEAD = 8  # a step and a clip each: four clips that a decoder may be ahead
DECODE_RETRIES = 2  # of a worker that dies; an error in the file itself is final


@dataclass
class FinishedSource:
    """A source whose clips have all been judged, or that failed (then without rows); rows are Ray refs."""

    source: SourceRecord
    signature: Signature
    failure: Failure | None = None
    kept: list[Any] = field(default_factory=list)
    rejected: list[Any] = field(default_factory=list)
    reject_reasons: Counter[str] = field(default_factory=Counter)


class Pipeline:
    """Decoders and judges on the connected Ray cluster; use it as a context manager."""

    def __init__(self, models: Models, clips: ClipSettings, captions: FilterSettings) -> None:
        resources = ray.cluster_resources()
        cpus, gpus = int(resources.get("CPU", 1)), int(resources.get("GPU", 0))
        num_judges = max(1, gpus)
        # On a single core a judge that reserved it would leave none to decode on.
        judge_options = {"num_cpus": 1 if cpus > num_judges else 0, "num_gpus": 1 if gpus else 0}
        judge_class = ray.remote(max_restarts=3, max_task_retries=3, **judge_options)(ClipJudge)
        self._judges = [judge_class.remote(models, captions) for _ in range(num_judges)]
        self._decode = ray.remote(
            num_cpus=1, max_retries=DECODE_RETRIES, _generator_backpressure_num_objects=OBJECTS_AHEAD
        )(decode_source)
        self._max_decoding = max(1, cpus - num_judges) + 1
        self._clip_settings = ray.put(clips)
        self._decoding: dict[Any, _OpenSource] = {}
        self._batch: list[tuple[_OpenSource, Any]] = []
        self._judging: dict[Any, _Batch] = {}
        self.seconds: Seconds = {}
        self.encoded = 0

    def __enter__(self) -> "Pipeline":
        return self

    def __exit__(self, *_: object) -> None:
        for generator in self._decoding:
            ray.cancel(generator, force=True)
        for judge in self._judges:
            ray.kill(judge)

    def run(self, pending: Iterator[tuple[SourceRecord, Signature]]) -> Iterator[FinishedSource]:
        """Work through the pending sources and yield each when it is finished, in no particular order."""
        exhausted = False
        while True:
            while not exhausted and len(self._decoding) < self._max_decoding:
                source, signature = next(pending, (None, None))
                if source is None or signature is None:
                    exhausted = True
                elif source.problem is not None:
                    yield FinishedSource(source, signature, Failure("read", source.problem))
                else:
                    generator = self._decode.remote(source, self._clip_settings)
                    self._decoding[generator] = _OpenSource(FinishedSource(source, signature))
            self._submit_batch()
            if not self._decoding and not self._judging:
                return
            yield from self._next_event()

    def _submit_batch(self) -> None:
        """Give the collected clips to the judge with the least to do: a full batch, or any to an idle one."""
        load = Counter({index: 0 for index in range(len(self._judges))})
        load.update(batch.judge for batch in self._judging.values())
        judge, waiting = min(load.items(), key=lambda item: item[1])
        full = len(self._batch) >= BATCH_CLIPS
        if not self._batch or waiting >= BATCHES_PER_JUDGE or (waiting > 0 and not full):
            return
        clips = [clip for _, clip in self._batch]
        method = self._judges[judge].judge.options(num_returns=1 + len(clips))
        judged, *rows = method.remote(*clips)
        self._judging[judged] = _Batch(judge, [source for source, _ in self._batch], rows)
        self._batch = []

    def _next_event(self) -> list[FinishedSource]:
        """Wait until a batch is judged or, while there is room for its clip, a decoder has gone on."""
        waiting_for = [*self._judging, *(self._decoding if len(self._batch) < BATCH_CLIPS else ())]
        ready, _ = ray.wait(waiting_for, num_returns=1, fetch_local=False)
        if ready[0] in self._judging:
            return self._take_verdicts(ready[0])
        return self._take_step(ready[0])

    def _take_step(self, generator: Any) -> list[FinishedSource]:
        open_source = self._decoding[generator]
        step = _read_step(generator)
        add_seconds(self.seconds, step.seconds)
        if step.clip_id is None:
            del self._decoding[generator]
            open_source.decoded = True
            open_source.fail(step.failure)
            return open_source.if_finished()
        clip = next(generator)
        if step.clip_id not in open_source.clip_ids:
            open_source.clip_ids.add(step.clip_id)
            open_source.unjudged += 1
            self._batch.append((open_source, clip))
        return []

    def _take_verdicts(self, judged_ref: Any) -> list[FinishedSource]:
        batch = self._judging.pop(judged_ref)
        try:
            judged: Judged = ray.get(judged_ref)
        except ray.exceptions.RayError as error:
            last_line = str(error).strip().splitlines()[-1].strip()
            raise RequestError(f"model, clip: the worker that holds the models died: {last_line}") from error
        add_seconds(self.seconds, judged.seconds)
        finished = []
        for open_source, verdict, row in zip(batch.sources, judged.verdicts, batch.rows, strict=True):
            self.encoded += verdict.reject_reason is None and verdict.failure is None
            open_source.take(verdict, row)
            finished += open_source.if_finished()
        return finished


@dataclass
class _Batch:
    """Clips that a judge is at work on: its index, the source of each clip and the reference of its row."""

    judge: int
    sources: "list[_OpenSource]"
    rows: list[Any]


@dataclass
class _OpenSource:
    """A source that is being decoded or has clips that are not judged yet."""

    result: FinishedSource
    clip_ids: set[str] = field(default_factory=set)
    unjudged: int = 0
    decoded: bool = False

    def take(self, verdict: Verdict, row: Any) -> None:
        self.unjudged -= 1
        self.fail(verdict.failure)
        if verdict.reject_reason is None:
            self.result.kept.append(row)
        else:
            self.result.rejected.append(row)
            self.result.reject_reasons[verdict.reject_reason] += 1

    def fail(self, failure: Failure | None) -> None:
        self.result.failure = self.result.failure or failure

    def if_finished(self) -> list[FinishedSource]:
        """The source, if nothing is left to do for it; one that failed anywhere gives no rows at all."""
        if not self.decoded or self.unjudged:
            return []
        if self.result.failure is not None:
            self.result = FinishedSource(self.result.source, self.result.signature, self.result.failure)
        return [self.result]


def _read_step(generator: Any) -> DecodeStep:
    """The decoder's next step; a failure when its worker died more often than Ray retries."""
    try:
        return ray.get(next(generator))
    except ray.exceptions.RayError as error:
        attempts = DECODE_RETRIES + 1
        reason = f"its worker died {attempts} times ({type(error).__name__})"
        return DecodeStep(None, failure=Failure("decode", reason, attempts))
