"""Which sources need work: those that the ledger does not know exactly as they are now."""

import json
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Any

from storage.writer import DatasetWriter, Signature
from tasks.clips.settings import ClipSettings
from tasks.corpora.corpus import Corpus
from tasks.corpora.readers import read_sources
from tasks.corpora.records import SourceRecord
from tasks.filters.settings import FilterSettings

_ROWS = 1
"""Raised when the same source and settings would give other rows: everything is then made anew."""


class Pending:
    """The sources of some corpora that a dataset lacks; iterate over it as often as you like."""

    def __init__(self, corpora: Sequence[Corpus], writer: DatasetWriter, settings: str) -> None:
        self._corpora = corpora
        self._writer = writer
        self._settings = settings

    def __iter__(self) -> Iterator[tuple[SourceRecord, Signature]]:
        """Stream the sources that need work, each once."""
        seen: set[str] = set()
        for source, signature in self._all():
            if source.source_id not in seen and not self._writer.is_done(source.source_id, signature):
                seen.add(source.source_id)
                yield source, signature

    def count(self) -> tuple[int, int]:
        """How many sources there are, and how many of them need work."""
        return sum(1 for _ in self._all()), sum(1 for _ in self)

    def _all(self) -> Iterator[tuple[SourceRecord, Signature]]:
        for corpus in self._corpora:
            for source in read_sources(corpus):
                yield source, signature_of(source, self._settings)


def settings_digest(clips: ClipSettings, captions: FilterSettings, encoder: str, scorer: str) -> str:
    """A digest of all that decides the rows of a source, but for the source itself."""
    return _digest([_ROWS, clips.model_dump(), captions.model_dump(), encoder, scorer])


def signature_of(source: SourceRecord, settings: str) -> Signature:
    """What the source's rows depend on."""
    spans = [[span.text, span.start_s, span.end_s] for span in source.captions]
    labels = _digest([spans, source.caption_origin, source.kind, source.licence, source.problem])
    return Signature(source.size_bytes, source.mtime_ns, labels, settings)


def _digest(values: list[Any]) -> str:
    return blake2b(json.dumps(values, sort_keys=True).encode(), digest_size=16).hexdigest()
