"""The layouts `folder` and `csv`: media files, with captions from a table or from files beside them."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence

from tasks.corpora.corpus import Corpus
from tasks.corpora.encodings import decoded
from tasks.corpora.entry import MAX_CAPTION_BYTES, Entry, record_of
from tasks.corpora.manifest import MANIFEST_NAMES, read_manifest
from tasks.corpora.records import SourceRecord
from tasks.corpora.subtitles import MAX_SUBTITLE_BYTES, SUBTITLE_SUFFIXES, add_cues
from tasks.corpora.tree import MISSING, FoundFile, Listing, Tree, media_suffixes, uri_of
from tasks.errors import RequestError


def read_folder(corpus: Corpus, tree: Tree, captions_needed: bool = True) -> Iterator[SourceRecord]:
    """Yields the media of a folder and those that only its manifest knows.

    The manifest's captions count before the `.txt` beside a file; subtitles beside a long video are added
    unless the manifest has captions with times.
    """
    listing = tree.listing(media_suffixes(corpus.kind))
    entries = _manifest_of(corpus, tree, listing, captions_needed)
    files = {uri_of(name): file for name, file in listing.files.items()}
    _take_candidates(files, entries)
    uris = sorted(files.keys() | entries.keys())
    for uri, entry in _with_side_cars(corpus, tree, listing, files, uris, entries):
        yield record_of(corpus, files.get(uri) or tree.find(uri), entry, uri=uri)


def _take_candidates(files: dict[str, FoundFile], entries: Mapping[str, Entry]) -> None:
    """Puts files that a table names by less than their path under the name that it gives them."""
    for uri, entry in entries.items():
        if uri not in files:
            place = next((name for name in entry.candidates if name in files and name not in entries), None)
            if place is not None:
                files[uri] = files.pop(place)


def read_csv(corpus: Corpus, tree: Tree, name: str, captions_needed: bool = True) -> Iterator[SourceRecord]:
    """Yields the files that a table names, relative to it."""
    entries = read_manifest(corpus, tree, name, captions_needed)
    yield from listed_files(corpus, tree, entries)


def listed_files(corpus: Corpus, tree: Tree, entries: Mapping[str, Entry]) -> Iterator[SourceRecord]:
    """Yields the files that a table names by their paths in the tree."""
    for uri in sorted(entries):
        entry = entries[uri]
        places = [tree.find(candidate) for candidate in entry.candidates or (uri,)]
        found = next((place for place in places if place.problem != MISSING), places[0])
        yield record_of(corpus, found, entry, uri=uri)


def _manifest_of(corpus: Corpus, tree: Tree, listing: Listing, captions_needed: bool) -> dict[str, Entry]:
    name = next((name for name in MANIFEST_NAMES if name in listing.others), None)
    if name is None:
        return {}
    problem = tree.find(name).problem
    if problem is not None:
        raise RequestError(f"{tree.root}/{name}: {problem}")
    return read_manifest(corpus, tree, name, captions_needed)


def _with_side_cars(
    corpus: Corpus,
    tree: Tree,
    listing: Listing,
    files: Mapping[str, FoundFile],
    uris: Sequence[str],
    entries: Mapping[str, Entry],
) -> Iterator[tuple[str, Entry]]:
    """Gives each source with what the manifest and the files beside it say; these are read as they are needed."""
    beside = {}
    for uri in uris:
        if uri in files:
            stem = posixpath.splitext(files[uri].name)[0]
            wanted = _side_car_suffixes(corpus, entries.get(uri))
            beside[uri] = [stem + suffix for suffix in wanted if stem + suffix in listing.others]
    names = [name for names in beside.values() for name in names]
    texts = tree.heads([name for name in names if name.endswith(".txt")], MAX_CAPTION_BYTES)
    subtitles = tree.heads([name for name in names if not name.endswith(".txt")], MAX_SUBTITLE_BYTES)
    for uri in uris:
        entry = entries.get(uri) or Entry()
        for name in beside.get(uri, ()):
            content = next(texts if name.endswith(".txt") else subtitles)
            _add_side_car(entry, name, content, corpus.encoding)
        yield uri, entry


def _side_car_suffixes(corpus: Corpus, entry: Entry | None) -> tuple[str, ...]:
    """Tells which files beside a source can add to what the manifest says of it."""
    subtitles = SUBTITLE_SUFFIXES if corpus.kind == "long-videos" else ()
    if entry is None:
        return (".txt", *subtitles)
    if entry.problem is not None:
        return ()
    if not entry.captions:
        return (".txt", *subtitles)
    timed = any(caption.start_s is not None or caption.end_s is not None for caption in entry.captions)
    return () if timed else subtitles


def _add_side_car(entry: Entry, name: str, content: bytes | None, encoding: str | None) -> None:
    """Adds the captions of a file beside a source; what is wrong with it counts when there are no others."""
    base = uri_of(posixpath.basename(name))
    try:
        if content is None:
            raise ValueError("cannot be read")
        limit = MAX_CAPTION_BYTES if name.endswith(".txt") else MAX_SUBTITLE_BYTES
        text = decoded(content, encoding, cut=len(content) == limit)
        if name.endswith(".txt"):
            entry.add(text, where=base)
        else:
            add_cues(entry, base, text)
    except ValueError as error:
        entry.doubt = entry.doubt or f"{base}: {error}"
