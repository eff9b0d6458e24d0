"""Which sources need work: those that the ledger does not know exactly as they are now."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from storage.dataset.removed import removed_rules
from storage.dataset.writer import DatasetWriter, Signature
from tasks.corpora.corpus import Corpus
from tasks.corpora.readers import read_sources
from tasks.corpora.records import SourceRecord
from tasks.corpora.tree import is_missing
from tasks.ingest.recipe import Recipe

_ROWS = 5
"""Raised when the same source and settings would give other rows: everything is then made anew."""


@dataclass(frozen=True)
class Counts:
    """What a look through the corpora found: `vanished` are sources that gave clips and are there no more."""

    read: int
    pending: int
    vanished: list[str]


class Pending:
    """The sources of some corpora that a dataset lacks; iterate over it as often as you like.

    With `again` these are the quarantined ones instead, whether they have changed or not.
    """

    def __init__(
        self, corpora: Sequence[Corpus], writer: DatasetWriter, recipe: Recipe, again: bool = False
    ) -> None:
        self._corpora = corpora
        self._writer = writer
        self._again = again
        self._settings = _digest([_ROWS, recipe.clips.model_dump(), sorted(recipe.build.videos)])
        self._captioner: list[Any] = [recipe.captioner.model]
        asked = recipe.captioner.model_dump(include={"prompts", "frames"}, exclude_defaults=True)
        self._captioner += [asked] if asked else []
        self._captions_needed = recipe.captions_needed
        self._removed = removed_rules(writer.dataset_dir)
        self._tried: set[str] = set()

    def __iter__(self) -> Iterator[tuple[SourceRecord, Signature]]:
        """Streams the sources that need work, each once."""
        seen: set[str] = set()
        for source, signature in self._all({}):
            if source.source_id not in seen and self._needs_work(source, signature):
                seen.add(source.source_id)
                yield source, signature

    def count(
        self,
        on_source: Callable[[SourceRecord], None] | None = None,
        unread: Mapping[str, Counter[str]] | None = None,
    ) -> Counts:
        """Looks through the corpora once without doing anything; `on_source` is told of each source.

        `unread` has a counter for every corpus, of the suffixes of the files that nobody looks at.
        """
        read, pending, there = 0, set[str](), set[str]()
        for source, signature in self._all(unread or {}):
            read += 1
            if on_source is not None:
                on_source(source)
            if self._needs_work(source, signature):
                pending.add(source.source_id)
            if not is_missing(source.problem):
                there.add(source.source_id)
        known = self._writer.sources_with_clips({corpus.name for corpus in self._corpora})
        return Counts(read, len(pending), sorted(known - there))

    def tried(self, source_id: str) -> None:
        """A source that was tried again is not tried a second time."""
        self._tried.add(source_id)

    def _needs_work(self, source: SourceRecord, signature: Signature) -> bool:
        if self._again:
            return self._writer.attempts(source.source_id) > 0 and source.source_id not in self._tried
        return not self._writer.is_done(source.source_id, signature)

    def _all(self, unread: Mapping[str, Counter[str]]) -> Iterator[tuple[SourceRecord, Signature]]:
        for corpus in self._corpora:
            for source in read_sources(corpus, self._captions_needed, unread.get(corpus.name)):
                if self._removed.is_removed(source.source_id, source.licence, source.corpus):
                    continue
                yield source, self._signature(source)

    def _signature(self, source: SourceRecord) -> Signature:
        """Tells what the source's rows depend on."""
        spans = [[span.text, span.start_s, span.end_s, span.given] for span in source.captions]
        labels = [spans, source.caption_origin, source.kind, source.licence, source.split, source.problem]
        if not source.captions:
            labels += self._captioner
        if source.is_wordless_film and not (source.sound_marks and source.speaker_names):
            labels.append(f"{source.sound_marks} {source.speaker_names}")
        if source.caption_choice != "best" and len(source.captions) > 1:
            labels.append(source.caption_choice)
        return Signature(source.size_bytes, source.mtime_ns, _digest(labels), self._settings)


def _digest(values: list[Any]) -> str:
    return blake2b(json.dumps(values, sort_keys=True).encode(), digest_size=16).hexdigest()
