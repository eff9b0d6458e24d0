"""Runs the stages of a build on a few sources of each corpus, in this process, and notes what each cost."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from tasks.clips.clip import Clip
from tasks.corpora.corpus import Corpus
from tasks.corpora.readers import read_sources
from tasks.corpora.records import CaptionSpan, MediaPlace, SourceRecord
from tasks.errors import RequestError
from tasks.filters.measures import measured
from tasks.filters.settings import FilterSettings
from tasks.filters.signals import clip_signals
from tasks.ingest.decoding import decode_source
from tasks.ingest.items import DecodedClip, Seconds, add_seconds
from tasks.ingest.recipe import Digests, Recipe
from tasks.ingest.scoring import ScoringModels

SAMPLE_SOURCES = 24
LEAST_PER_CORPUS = 2  # one would say nothing of the spread
NUMBER_BYTES = 8
BATCH_CLIPS = 8  # as an actor on a GPU gets them in a build


@dataclass
class SourceCost:
    """What one source cost and gave.

    `decoder_s` and `models_s` are seconds by stage: of one CPU core, or of the GPU where the models have one.
    A source that failed cost its time and gives no rows.
    """

    decoder_s: Seconds = field(default_factory=dict)
    models_s: Seconds = field(default_factory=dict)
    clips: int = 0
    kept: int = 0
    row_bytes: int = 0
    failed: bool = False

    def without_rows(self) -> SourceCost:
        """Gives the same time for nothing: a source that fails anywhere gives no rows."""
        return replace(self, clips=0, kept=0, row_bytes=0)


@dataclass(frozen=True)
class CorpusSample:
    """A corpus, how many sources it has, and what a random few of them cost."""

    name: str
    kind: str
    sources: int
    costs: Sequence[SourceCost]


@dataclass(frozen=True)
class Measured:
    """A sample of each corpus; `on_gpu` says whether the models' seconds are a GPU's."""

    samples: Sequence[CorpusSample]
    on_gpu: bool


def measure(corpora: Sequence[Corpus], recipe: Recipe, sample_sources: int = SAMPLE_SOURCES) -> Measured:
    """Lists the corpora whole and runs `sample_sources` sources of them; RequestError for models that do not load."""
    models = ScoringModels(recipe, Digests.of(recipe))
    chosen = list(choose_sources(corpora, sample_sources, recipe.captions_needed))
    on_gpu = torch.cuda.is_available()
    with _one_thread():
        _warm_up(models, [few[0] for _, _, few in chosen], recipe)
        samples = [
            CorpusSample(corpus.name, corpus.kind, count, measure_sources(few, models, recipe, on_gpu))
            for corpus, count, few in chosen
        ]
    return Measured(samples, on_gpu)


def choose_sources(
    corpora: Sequence[Corpus], sample_sources: int, captions_needed: bool = True
) -> Iterator[tuple[Corpus, int, list[SourceRecord]]]:
    """Gives each corpus with the number of its sources and a random few, the same ones every time.

    Ids are hashes, so the smallest ones are a random choice that needs no list of them all.
    """
    per_corpus = max(LEAST_PER_CORPUS, sample_sources // len(corpora))
    for corpus in corpora:
        counted = _Counted(read_sources(corpus, captions_needed))
        few = heapq.nsmallest(per_corpus, counted, key=lambda source: source.source_id)
        if not few:
            raise RequestError(f"corpora: {corpus.name} holds no sources")
        yield corpus, counted.count, few


def measure_sources(
    sources: Sequence[SourceRecord], models: ScoringModels, recipe: Recipe, on_gpu: bool = False
) -> list[SourceCost]:
    """Takes sources through the build's decoder and models, one clip after the other.

    A GPU gets clips in batches, as in a build, and the clips of a batch share its time equally.
    """
    scoring = _Scoring(models, recipe.filter, BATCH_CLIPS if on_gpu else 1)
    costs = [_decode(source, recipe, scoring) for source in sources]
    scoring.flush()
    return [cost.without_rows() if cost.failed else cost for cost in costs]


def _decode(source: SourceRecord, recipe: Recipe, scoring: _Scoring) -> SourceCost:
    """Decodes a source and hands its clips on; what they cost the models is added to the result later."""
    cost = SourceCost(failed=source.problem is not None and not source.is_wordless_film)
    if cost.failed:
        return cost
    steps: Iterator[Any] = decode_source(source, recipe.clips, recipe.build.videos, recipe.measures)
    for step in steps:
        add_seconds(cost.decoder_s, step.seconds)
        if step.clip_id is not None:
            scoring.add(cost, next(steps))
        cost.failed = step.failure is not None
    return cost


class _Scoring:
    """Collects clips into batches, has them scored, and adds what that cost to their sources."""

    def __init__(self, models: ScoringModels, settings: FilterSettings, batch_clips: int) -> None:
        self._models, self._settings = models, settings
        self._batch_clips = batch_clips
        self._batch: list[tuple[SourceCost, DecodedClip]] = []

    def add(self, cost: SourceCost, decoded: DecodedClip) -> None:
        self._batch.append((cost, decoded))
        if len(self._batch) == self._batch_clips:
            self.flush()

    def flush(self) -> None:
        batch, self._batch = self._batch, []
        if not batch:
            return
        scored, *rows = self._models.score_clips(
            self._settings, [None] * len(batch), *(decoded for _, decoded in batch)
        )
        share = {stage: value / len(batch) for stage, value in scored.seconds.items()}
        for (cost, _), outcome, row in zip(batch, scored.outcomes, rows, strict=True):
            add_seconds(cost.models_s, share)
            cost.failed = cost.failed or outcome.failure is not None
            cost.clips += 1
            cost.kept += outcome.failure is None and outcome.reject_reason is None
            cost.row_bytes += 0 if row is None else row_bytes(row)


def row_bytes(row: Mapping[str, Any]) -> int:
    """Bytes of a row's values as they are: arrays, blobs and text; what a table adds is not counted."""
    return sum(_value_bytes(value) for value in row.values())


def _value_bytes(value: Any) -> int:
    if value is None:
        return 0
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, str):
        return len(value.encode("utf-8", "replace"))
    return len(value) if isinstance(value, bytes) else NUMBER_BYTES


def _warm_up(models: ScoringModels, sources: Sequence[SourceRecord], recipe: Recipe) -> None:
    """The first clip of each kind pays for what is imported and set up lazily."""
    models.score_clips(recipe.filter, [None], _blank_clip(recipe))
    for source in {source.kind: source for source in sources if source.problem is None}.values():
        for _ in zip(
            range(3), decode_source(source, recipe.clips, recipe.build.videos, recipe.measures), strict=False
        ):
            pass


@contextmanager
def _one_thread() -> Iterator[None]:
    """As in a build, whose actors and decoders have one core each; more threads would wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class _Counted:
    """Counts what is iterated over."""

    def __init__(self, sources: Iterable[SourceRecord]) -> None:
        self._sources = sources
        self.count = 0

    def __iter__(self) -> Iterator[SourceRecord]:
        for source in self._sources:
            self.count += 1
            yield source


def _blank_clip(recipe: Recipe) -> DecodedClip:
    settings = recipe.clips
    frames_nhwc = np.zeros((settings.num_frames, settings.height, settings.width, 3), np.uint8)
    caption = (CaptionSpan("a blank clip"),)
    source = SourceRecord("", "", MediaPlace(""), "", "images", "", caption, "", 0, 0)
    clip = Clip(
        "", source, 0.0, settings.fps, frames_nhwc, caption, "", "{}", settings.width, settings.height
    )
    signals = clip_signals(frames_nhwc)
    return DecodedClip(clip, "", None, signals, measured(frames_nhwc, recipe.measures))
