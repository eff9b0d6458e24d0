"""The files that a table names by their paths in the corpus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tasks.corpora.corpus import Corpus
from tasks.corpora.entry import Entry, record_of
from tasks.corpora.records import SourceRecord
from tasks.corpora.tree import MISSING, Tree


def listed_files(corpus: Corpus, tree: Tree, entries: Mapping[str, Entry]) -> Iterator[SourceRecord]:
    """Yields the files in the order of their paths, each from the first of its places where there is one."""
    for uri in sorted(entries):
        entry = entries[uri]
        places = [tree.find(candidate) for candidate in entry.candidates or (uri,)]
        found = next((place for place in places if place.problem != MISSING), places[0])
        yield record_of(corpus, found, entry, uri=uri)
