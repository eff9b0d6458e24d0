"""The workers of a small build: this process, which holds the models, and decoders in processes of their own.

Ray and a process that loads the models take longer to start than a few sources to be done.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from multiprocessing.connection import wait as wait_for_any
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from storage.dataset.columns import SOURCE_URI
from storage.dataset.tables import Fragments, RowRef
from tasks.corpora.records import SourceRecord
from tasks.errors import ItemError, RequestError
from tasks.filters.settings import FilterSettings
from tasks.ingest.cut_captions import count_cut_captions
from tasks.ingest.decoder_process import DecoderProcess
from tasks.ingest.decoding import decode_source
from tasks.ingest.executor import DECODE_RETRIES, DecoderDied
from tasks.ingest.frames import COLUMNS, give_frames
from tasks.ingest.items import DecodedClip, DecodeStep, ScoredBatch, Seconds
from tasks.ingest.pace import Pace
from tasks.ingest.recipe import Digests, Recipe
from tasks.ingest.rewriting import Rewrite, Rewritten, rewrite_rows
from tasks.ingest.rows import write_clip_rows

if TYPE_CHECKING:
    from tasks.ingest.scoring import ScoringModels


class LocalPool:
    """An `Executor` in this process. Scoring and writing are done when their result is asked for.

    Decoders go on meanwhile, each as far as its connection holds: about a clip.
    """

    num_scoring = 1
    is_local = True

    def __init__(self, recipe: Recipe, digests: Digests, items: int) -> None:
        self._recipe, self._digests = recipe, digests
        self.num_decoders = min(recipe.build.decoders or os.cpu_count() or 1, max(1, items))
        self._queue: deque[_Decoding] = deque()
        self._processes: list[DecoderProcess] = []
        self._idle: list[DecoderProcess] = []

    def close(self) -> None:
        """Ends the decoders."""
        for process in self._processes:
            process.kill()

    def measure_pace(self, recipe: Recipe, noted: Pace | None) -> Any:
        """Notes that down, to be done when it is waited for."""
        return _Call(lambda: self._models.pace(recipe.clips, noted))

    def pace(self, measuring: Any) -> Pace:
        """Times the models."""
        pace: Pace = measuring.result
        return pace

    def decode(self, source: SourceRecord, recipe: Recipe) -> Any:
        """Starts to decode a source as soon as a decoder is free."""
        decoding = _Decoding((source, recipe.clips, recipe.build.videos, recipe.measures, recipe.limits))
        self._queue.append(decoding)
        self._start_decoders()
        return decoding

    def take_step(self, decoding: Any) -> tuple[DecodeStep, Any | None]:
        """Gives a step and the clip that follows it; a decoder that died is started again, which is a step too."""
        try:
            step: DecodeStep = decoding.process.take()
            clip: DecodedClip | None = decoding.process.take() if step.clip_id is not None else None
        except EOFError:
            how, decoding.process = self._drop(decoding.process), None
            decoding.deaths += 1
            if decoding.deaths > DECODE_RETRIES:
                self._start_decoders()
                raise DecoderDied(how) from None
            self._begin(decoding)
            return DecodeStep(), None
        if step.ended:
            self._release(decoding)
        return step, clip

    def stop(self, decoding: Any) -> None:
        """Ends a decoder in the middle of its source."""
        if decoding in self._queue:
            self._queue.remove(decoding)
        if decoding.process is not None:
            decoding.process.kill()
            self._processes.remove(decoding.process)
            decoding.process = None
            self._start_decoders()

    def score(
        self, worker: int, settings: FilterSettings, reuse: Sequence[RowRef | None], clips: Sequence[Any]
    ) -> tuple[Any, list[Any]]:
        """Notes the clips down, to be scored when that is waited for."""
        call = _Call(lambda: self._models.score_clips(settings, reuse, *clips))
        return call, [_Row(call, 1 + index) for index in range(len(clips))]

    def scored(self, scoring: Any) -> ScoredBatch:
        """Scores the clips."""
        batch: ScoredBatch = scoring.result[0]
        return batch

    def wait(self, handles: Collection[Any], timeout_s: float) -> Any | None:
        """Gives a decoder that has something to give, else a batch, else waits for a decoder."""
        calls = [handle for handle in handles if isinstance(handle, _Call)]
        decoders = {
            handle.process.connection: handle
            for handle in handles
            if isinstance(handle, _Decoding) and handle.process is not None
        }
        ready = wait_for_any(list(decoders), 0 if calls else timeout_s)
        if ready:
            return decoders[ready[0]]
        return calls[0] if calls else None

    def write(self, dataset_dir: Path, rows: Sequence[Any]) -> Any:
        """Notes the rows down, to be written when that is asked for."""
        return _Call(lambda: write_clip_rows(dataset_dir, *[row.call.result[row.index] for row in rows]))

    def written(self, writing: Any) -> tuple[Fragments, Fragments, Seconds]:
        """Writes the rows."""
        fragments: tuple[Fragments, Fragments, Seconds] = writing.result
        return fragments

    def rewrite(self, chunks: Iterable[list[Rewrite]]) -> Iterator[Rewritten]:
        """Writes rows again, of frames that a decoder makes."""
        return map(partial(rewrite_rows, models=self._models, frames_of=self._frames), chunks)

    def count_cut_captions(self, dataset_dir: Path, model: str, clip_model: str) -> dict[str, Any]:
        """Counts them here."""
        return count_cut_captions(dataset_dir, model, clip_model)

    @cached_property
    def _models(self) -> ScoringModels:
        from tasks.ingest.scoring import ScoringModels  # torch is imported while the decoders start

        try:
            return ScoringModels(self._recipe, self._digests, threads=os.cpu_count() or 1)
        except Exception as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
            raise RequestError(f"model, clip: they cannot be loaded: {reason}") from error

    def _frames(self, row: dict[str, Any], place: str | None) -> np.ndarray:
        """Has a decoder make the frames of a stored clip; ItemError when that ends it."""
        process = self._idle.pop() if self._idle else self._new_process()
        process.start(give_frames, {name: row[name] for name in COLUMNS}, place)
        try:
            frames_nhwc: np.ndarray = process.take()
        except EOFError:
            how = self._drop(process)
            raise ItemError(f"{row[SOURCE_URI]}: its decoder died ({how})", stage="decode") from None
        except Exception:
            self._idle.append(process)
            raise
        self._keep_if_ended(process)
        return frames_nhwc

    def _start_decoders(self) -> None:
        while self._queue and (self._idle or len(self._processes) < self.num_decoders):
            self._begin(self._queue.popleft())

    def _begin(self, decoding: _Decoding) -> None:
        decoding.process = self._idle.pop() if self._idle else self._new_process()
        decoding.process.start(decode_source, *decoding.arguments)

    def _release(self, decoding: _Decoding) -> None:
        process, decoding.process = decoding.process, None
        self._keep_if_ended(process)
        self._start_decoders()

    def _keep_if_ended(self, process: DecoderProcess) -> None:
        if process.has_ended():
            self._idle.append(process)
        else:
            process.kill()
            self._processes.remove(process)

    def _new_process(self) -> DecoderProcess:
        process = DecoderProcess()
        self._processes.append(process)
        return process

    def _drop(self, process: DecoderProcess) -> str:
        self._processes.remove(process)
        return process.how_it_died()


@dataclass(eq=False)
class _Decoding:
    """A source that a decoder is at, or will be: what `decode_source` is given, and how often its decoder died."""

    arguments: tuple[Any, ...]
    process: Any = None
    deaths: int = 0


@dataclass(eq=False)
class _Call:
    """Work that is done when its result is asked for."""

    do: Callable[[], Any]

    @cached_property
    def result(self) -> Any:
        return self.do()


@dataclass(eq=False)
class _Row:
    """One of the things that a call gives."""

    call: _Call
    index: int
