"""What a build asks of whatever does its work: workers on Ray (`pool.py`), or this process (`local_pool.py`)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from storage.dataset.tables import Fragments, RowRef
from tasks.corpora.records import SourceRecord
from tasks.filters.settings import FilterSettings
from tasks.ingest.items import DecodeStep, ScoredBatch, Seconds
from tasks.ingest.pace import Pace
from tasks.ingest.recipe import Recipe
from tasks.ingest.rewriting import Rewrite, Rewritten

ITEMS_PER_WORKER = 64
"""Sources or rows for which one worker that holds the models does: it takes a quarter of a minute to start."""

CALLS_PER_WORKER = 2
"""Batches that a scoring worker may have: one in work, one waiting."""

DECODE_RETRIES = 2
"""How often a source is begun again whose decoder has died; an error in the file itself is final."""

EncodeTexts = Callable[[list[str]], np.ndarray]
"""Captions to their states; see `TextEncoder.encode`."""


class WorkLost(Exception):
    """What was under way went down with a machine: it is to be done again."""


class DecoderDied(Exception):
    """The process that decoded a source died as often as it may; the message says of what."""

    def __init__(self, how: str) -> None:
        super().__init__(how)
        self.attempts = DECODE_RETRIES + 1


class Executor(Protocol):
    """Decoders and scoring workers; to be closed.

    What is started gives a handle, which is waited for and then asked once for its result; rows stay where they were
    made and travel as handles of their own. Whoever calls bounds what is under way.
    """

    num_decoders: int
    num_scoring: int
    is_local: bool

    def measure_pace(self, recipe: Recipe, noted: Pace | None) -> Any:
        """Starts to time the models, unless what was `noted` is of them and this device; gives a handle."""

    def pace(self, measuring: Any) -> Pace:
        """Gives what was found; WorkLost, or RequestError when the models cannot be used."""

    def decode(self, source: SourceRecord, recipe: Recipe) -> Any:
        """Starts to decode a source; gives the handle of its steps."""

    def take_step(self, decoding: Any) -> tuple[DecodeStep, Any | None]:
        """Gives a decoder's next step and the handle of the clip that goes with it; DecoderDied or WorkLost."""

    def stop(self, decoding: Any) -> None:
        """Ends a decoder, whatever it is at."""

    def score(
        self, worker: int, settings: FilterSettings, reuse: Sequence[RowRef | None], clips: Sequence[Any]
    ) -> tuple[Any, list[Any]]:
        """Gives clips to a scoring worker, as `ScoringModels.score_clips` takes them; its handle, and one a row."""

    def scored(self, scoring: Any) -> ScoredBatch:
        """Gives what became of a batch; WorkLost, or RequestError when the models cannot be used."""

    def wait(self, handles: Collection[Any], timeout_s: float) -> Any | None:
        """Waits until one of these decoders or batches has something to give; None when none has in that time."""

    def write(self, dataset_dir: Path, rows: Sequence[Any]) -> Any:
        """Starts to write rows, given by their handles, into fragments that nobody sees yet."""

    def written(self, writing: Any) -> tuple[Fragments, Fragments, Seconds]:
        """Gives what `write_clip_rows` gave; WorkLost, or the error that it raised."""

    def rewrite(self, chunks: Iterable[list[Rewrite]]) -> Iterator[Rewritten]:
        """Writes rows again, chunk by chunk, in no particular order."""

    def count_cut_captions(self, dataset_dir: Path, model: str, clip_model: str) -> dict[str, Any]:
        """See `tasks.ingest.cut_captions`."""

    def close(self) -> None:
        """Ends the workers."""
