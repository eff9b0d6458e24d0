"""The stages of a build overlapped, with a bound on everything that is under way.

    sources -> decoders (one per source, streaming clips) -> scoring workers (CLIP and VAE) -> finished sources

Whether that is Ray's processes or this one is the executor's business. A decoder that is far enough ahead is paused by
it; the driver takes no further clip while every worker has its share; and it starts no further decoder than there are
CPUs. So what is in memory at once is a few dozen clips, whatever the corpora hold.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from storage.dataset.tables import RowRef
from storage.dataset.writer import Signature
from tasks.corpora.records import SourceRecord
from tasks.ingest.executor import CALLS_PER_WORKER, DecoderDied, Executor, WorkLost
from tasks.ingest.items import ClipOutcome, DecodeStep, Failure, Seconds, add_seconds
from tasks.ingest.pace import Progress, note_pace, noted_pace
from tasks.ingest.recipe import Recipe


@dataclass
class FinishedSource:
    """A source whose clips have all been scored, or that failed (then without rows); rows are handles."""

    source: SourceRecord
    signature: Signature
    failure: Failure | None = None
    digest: str | None = None
    kept: list[Any] = field(default_factory=list)
    rejected: list[Any] = field(default_factory=list)
    reject_reasons: Counter[str] = field(default_factory=Counter)
    encoded: int = 0


class Pipeline:
    """Sources through an executor; `lost` counts those that went down with a machine, to be done again.

    `known` maps clips of earlier builds to the rows that may have their latents. A source that gives no clip for
    `source_timeout_s` is stopped and quarantined.
    """

    def __init__(
        self,
        executor: Executor,
        recipe: Recipe,
        known: Mapping[str, RowRef],
        dataset_dir: Path,
        on_event: Callable[[], None] = lambda: None,
    ) -> None:
        self._executor = executor
        self._recipe = recipe
        self._known = known
        self._dataset_dir = dataset_dir
        self._on_event = on_event
        self._batch_clips: int | None = None
        self._clip_s = 0.0
        self._measuring = executor.measure_pace(recipe, noted_pace(dataset_dir))
        self._timeout_s = recipe.build.source_timeout_s
        self._decoding: dict[Any, _OpenSource] = {}
        self._batch: list[tuple[_OpenSource, str, Any]] = []
        self._scoring: dict[Any, _Batch] = {}
        self.progress = Progress()
        self.seconds: Seconds = {}
        self.lost = 0

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *_: object) -> None:
        for decoding in self._decoding:
            self._executor.stop(decoding)

    def run(self, pending: Iterator[tuple[SourceRecord, Signature]]) -> Iterator[FinishedSource]:
        """Works through the pending sources and yield each when it is finished, in no particular order."""
        exhausted = False
        while True:
            while not exhausted and len(self._decoding) <= self._executor.num_decoders:
                source, signature = next(pending, (None, None))
                if source is None or signature is None:
                    exhausted = True
                elif source.problem is not None and not source.is_wordless_film:
                    yield FinishedSource(source, signature, Failure("read", source.problem))
                else:
                    decoding = self._executor.decode(source, self._recipe)
                    self._decoding[decoding] = _OpenSource(FinishedSource(source, signature))
            self._submit_batch()
            if not self._decoding and not self._scoring and not self._batch:
                return
            yield from self._next_event()
            self._on_event()

    def _submit_batch(self) -> None:
        """Gives the collected clips to the worker with the least to do: a full batch, or any to an idle one."""
        load = Counter({index: 0 for index in range(self._executor.num_scoring)})
        load.update(batch.worker for batch in self._scoring.values())
        worker, waiting = min(load.items(), key=lambda item: item[1])
        full = self._batch_clips is not None and len(self._batch) >= self._batch_clips
        if (
            self._batch_clips is None
            or not self._batch
            or waiting >= CALLS_PER_WORKER
            or (waiting > 0 and not full)
        ):
            return
        if not full and self._has_more_at_once():
            return
        reuse = [self._known.get(clip_id) for _, clip_id, _ in self._batch]
        clips = [clip for _, _, clip in self._batch]
        scored, rows = self._executor.score(worker, self._recipe.filter, reuse, clips)
        self._scoring[scored] = _Batch(worker, [source for source, _, _ in self._batch], rows)
        self._batch = []

    def _has_more_at_once(self) -> bool:
        """Whether a decoder gives something within a moment of the models' time: a fuller batch is worth that."""
        moment_s = min(1.0, 0.05 * self._clip_s)
        return bool(self._decoding) and self._executor.wait(self._decoding, moment_s) is not None

    def _next_event(self) -> list[FinishedSource]:
        """Waits until a batch is scored or, while there is room for its clip, a decoder has gone on."""
        room = len(self._batch) < (self._batch_clips or self._recipe.build.batch_clips)
        timing = [] if self._batch_clips else [self._measuring]
        waiting_for = [*timing, *self._scoring, *(self._decoding if room else ())]
        ready = self._executor.wait(waiting_for, self._patience_s())
        if ready is None:
            return self._stop_hanging()
        if ready == self._measuring:
            return self._choose_batch()
        return self._take_outcomes(ready) if ready in self._scoring else self._take_step(ready)

    def _choose_batch(self) -> list[FinishedSource]:
        try:
            pace = self._executor.pace(self._measuring)
        except WorkLost:
            self._measuring = self._executor.measure_pace(self._recipe, None)
            return []
        note_pace(self._dataset_dir, pace)
        self._clip_s = pace.clip_s
        self._batch_clips = min(pace.batch_clips, self._recipe.build.batch_clips)
        return []

    def open_shares(self) -> float:
        """Gives how much of the sources under way is done, in sources."""
        sources = {*self._decoding.values(), *(source for source, _, _ in self._batch)}
        return sum(
            source.share_done
            for source in sources.union(*(batch.sources for batch in self._scoring.values()))
        )

    def _patience_s(self) -> float:
        begun = [source.since_s for source in self._decoding.values() if source.since_s is not None]
        wait_s = min(begun, default=time.monotonic()) + self._timeout_s - time.monotonic()
        return max(wait_s, 0.1)

    def _stop_hanging(self) -> list[FinishedSource]:
        """Ends decoders that have been at one clip for too long; one that has a clip ready only waits for us."""
        finished = []
        for decoding, source in list(self._decoding.items()):
            if source.since_s is None or time.monotonic() - source.since_s < self._timeout_s:
                continue
            if self._executor.wait([decoding], 0) is not None:
                continue
            self._executor.stop(decoding)
            del self._decoding[decoding]
            error = f"{source.result.source.uri}: gave no clip within {self._timeout_s:g} s"
            finished += source.end(DecodeStep(ended=True, failure=Failure("decode", error)))
        return finished

    def _take_step(self, decoding: Any) -> list[FinishedSource]:
        source = self._decoding[decoding]
        clip = None
        try:
            step, clip = self._executor.take_step(decoding)
        except DecoderDied as error:
            reason = f"its worker died {error.attempts} times ({error})"
            step = DecodeStep(ended=True, failure=Failure("decode", reason, error.attempts))
        except WorkLost:
            return self._lose(decoding, source)
        source.since_s = time.monotonic()
        add_seconds(self.seconds, step.seconds)
        # A decoder that was started again tells its first clips twice.
        if step.clip_id is not None and step.clip_id not in source.shares:
            source.shares[step.clip_id] = step.share
            source.unscored += 1
            self.progress.add(read=1)
            self._batch.append((source, step.clip_id, clip))
        if step.ended:
            del self._decoding[decoding]
            return source.end(step)
        return []

    def _take_outcomes(self, scoring: Any) -> list[FinishedSource]:
        batch = self._scoring.pop(scoring)
        try:
            scored = self._executor.scored(scoring)
        except WorkLost:
            for source in batch.sources:
                self._lose(None, source)
            return []
        add_seconds(self.seconds, scored.seconds)
        finished = []
        for source, outcome, row in zip(batch.sources, scored.outcomes, batch.rows, strict=True):
            self.progress.add(scored=1, encoded=outcome.encoded)
            finished += source.take(outcome, row)
        return finished

    def _lose(self, decoding: Any, source: _OpenSource) -> list[FinishedSource]:
        """Drops what a lost machine held: the source stays pending and is done again later."""
        self._decoding.pop(decoding, None)
        self.lost += not source.lost
        source.lost = True
        return []


@dataclass
class _Batch:
    """Clips that a worker is at: its index, the source of each clip and the handle of its row."""

    worker: int
    sources: list[_OpenSource]
    rows: list[Any]


@dataclass(eq=False)
class _OpenSource:
    """A source that is being decoded or has clips that are not scored yet; `since_s` is when it last gave one.

    `shares` are its clips, each with how much of the source is read by then; `share_done` is how much is scored too.
    """

    result: FinishedSource
    shares: dict[str, float] = field(default_factory=dict)
    unscored: int = 0
    decoded: bool = False
    lost: bool = False
    since_s: float | None = None
    share_done: float = 0.0

    def take(self, outcome: ClipOutcome, row: Any) -> list[FinishedSource]:
        """Counts one clip in; the source, if it was the last."""
        self.unscored -= 1
        self.share_done = max(self.share_done, self.shares[outcome.clip_id])
        self.result.failure = self.result.failure or outcome.failure
        self.result.encoded += outcome.encoded
        if outcome.reject_reason is None:
            self.result.kept.append(row)
        else:
            self.result.rejected.append(row)
            self.result.reject_reasons[outcome.reject_reason] += 1
        return self._if_finished()

    def end(self, step: DecodeStep) -> list[FinishedSource]:
        """Takes in that no further clip comes; gives the source, if all are scored."""
        self.decoded = True
        self.result.digest = step.source_digest
        self.result.failure = self.result.failure or step.failure
        return self._if_finished()

    def _if_finished(self) -> list[FinishedSource]:
        """Gives the source, if nothing is left to do for it; one that failed anywhere gives no rows at all."""
        if not self.decoded or self.unscored or self.lost:
            return []
        result = self.result
        if result.failure is not None:
            return [FinishedSource(result.source, result.signature, result.failure, result.digest)]
        return [result]
