"""The layouts `folder` and `csv`: media files, with captions from a table or from files beside them."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence

from tasks.corpora.corpus import Corpus
from tasks.corpora.encodings import decoded
from tasks.corpora.entry import MAX_CAPTION_BYTES, Entry, record_of
from tasks.corpora.json_fields import add_fields, read_fields
from tasks.corpora.listed_files import listed_files
from tasks.corpora.manifest import MANIFEST_NAMES, read_manifest
from tasks.corpora.metadata import CAPTIONS_NAME, METADATA_NAMES, read_metadata
from tasks.corpora.recognised import media_listing
from tasks.corpora.records import SourceRecord
from tasks.corpora.subtitle_languages import Tagged, chosen_subtitle, tagged_subtitles, unclear_language
from tasks.corpora.subtitles import MAX_SUBTITLE_BYTES, SCRIPT_SUFFIXES, SUBTITLE_SUFFIXES, add_cues
from tasks.corpora.tree import FoundFile, Listing, Tree, is_hidden, uri_of
from tasks.errors import RequestError

TEXT_SUFFIXES = (".txt", ".caption", ".json")
FIELDS_SUFFIX = ".json"
MAX_FIELDS_BYTES = 2**20
_LIMITS = (MAX_CAPTION_BYTES, MAX_FIELDS_BYTES, MAX_SUBTITLE_BYTES)


def read_folder(corpus: Corpus, tree: Tree, captions_needed: bool = True) -> Iterator[SourceRecord]:
    """Yields the media of a folder and those that only its manifest knows.

    The manifest's captions count before the `.txt` beside a file; subtitles beside a long video are added
    unless the manifest has captions with times.
    """
    listing = media_listing(tree, corpus)
    entries = _manifest_of(corpus, tree, listing, captions_needed)
    files = {uri_of(name): file for name, file in listing.files.items()}
    _take_candidates(files, entries)
    uris = sorted(files.keys() | entries.keys())
    for uri, entry in _with_side_cars(corpus, tree, listing, files, uris, entries):
        yield record_of(corpus, files.get(uri) or tree.find(uri), entry, uri=uri, split=entry.split)


def passed_by_in(corpus: Corpus, tree: Tree) -> list[str]:
    """Gives the files of a folder that say nothing and hold nothing for this corpus."""
    listing = media_listing(tree, corpus)
    stems = {posixpath.splitext(name)[0] for name in listing.files}
    suffixes = TEXT_SUFFIXES + (
        (*SUBTITLE_SUFFIXES, *SCRIPT_SUFFIXES) if corpus.kind == "long-videos" else ()
    )
    tables = (*MANIFEST_NAMES, *METADATA_NAMES, CAPTIONS_NAME)
    tagged = {
        name
        for stem, languages in _tagged(corpus, listing).items()
        if stem in stems
        if (name := chosen_subtitle(languages)) is not None
    }

    def says_something(name: str) -> bool:
        stem, suffix = posixpath.splitext(name)
        return (
            (posixpath.basename(name) in tables and not is_hidden(name))
            or (stem in stems and suffix.lower() in suffixes)
            or name in tagged
        )

    return sorted(name for name in listing.others if not says_something(name))


def _take_candidates(files: dict[str, FoundFile], entries: Mapping[str, Entry]) -> None:
    """Puts files that a table names by less than their path under the name that it gives them."""
    for uri, entry in entries.items():
        if uri not in files:
            place = next((name for name in entry.candidates if name in files and name not in entries), None)
            if place is not None:
                files[uri] = files.pop(place)


def read_table(corpus: Corpus, tree: Tree, name: str, captions_needed: bool = True) -> Iterator[SourceRecord]:
    """Yields the files that a table (CSV, TSV, JSON) names, relative to it."""
    entries = read_manifest(corpus, tree, name, captions_needed)
    yield from listed_files(corpus, tree, entries)


def _manifest_of(corpus: Corpus, tree: Tree, listing: Listing, captions_needed: bool) -> dict[str, Entry]:
    name = next((name for name in MANIFEST_NAMES if name in listing.others), None)
    if name is None:
        return read_metadata(corpus, tree, listing)
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
    tagged = _tagged(corpus, listing)
    for uri in uris:
        if uri in files:
            beside[uri] = _side_cars(corpus, listing, files[uri].name, entries.get(uri), tagged)
    names = [name for names in beside.values() for name in names]
    # Each kind of file in its own row, for each is read to another length.
    heads = {limit: tree.heads([name for name in names if _limit(name) == limit], limit) for limit in _LIMITS}
    for uri in uris:
        entry = entries.get(uri) or Entry()
        for name in beside.get(uri, ()):
            _add_side_car(entry, name, next(heads[_limit(name)]), corpus)
        if uri in files and not beside[uri] and (languages := tagged.get(_stem(files[uri].name))):
            entry.doubt = entry.doubt or unclear_language(languages)
        yield uri, entry


def _tagged(corpus: Corpus, listing: Listing) -> Tagged:
    if corpus.kind != "long-videos":
        return {}
    films = {_stem(name) for name in listing.files}  # of `film.en.mp4` a `film.en.srt` is its own
    others = (name for name in listing.others if _stem(name) not in films)
    return tagged_subtitles(others, (*SUBTITLE_SUFFIXES, *SCRIPT_SUFFIXES))


def _stem(name: str) -> str:
    return posixpath.splitext(name)[0]


def _side_cars(corpus: Corpus, listing: Listing, name: str, entry: Entry | None, tagged: Tagged) -> list[str]:
    """Tells which files beside a source can add to what the manifest says of it.

    Subtitles add to a text, those of the file's own name before those with a language in it; of texts there is one, and
    a script counts where there is nothing else.
    """
    if entry is not None and entry.problem is not None:
        return []
    stem = _stem(name)
    if entry is not None and entry.is_metadata and stem + ".txt" in listing.others:
        # It counted before metadata were read, and is as good.
        entry.captions, entry.split = [], None
    captions = () if entry is None else entry.captions
    timed = any(caption.start_s is not None or caption.end_s is not None for caption in captions)

    def there(suffixes: Sequence[str]) -> list[str]:
        spelt = (stem + spelling for suffix in suffixes for spelling in (suffix, suffix.upper()))
        return [name for name in spelt if name in listing.others]

    texts = [] if captions else there(TEXT_SUFFIXES)[:1]
    if corpus.kind != "long-videos" or timed:
        return texts
    chosen = chosen_subtitle(tagged.get(stem, {}))
    subtitles = there(SUBTITLE_SUFFIXES) or ([] if chosen is None else [chosen])
    return (texts + subtitles) or ([] if captions else there(SCRIPT_SUFFIXES)[:1])


def _limit(name: str) -> int:
    """Gives the bytes of a file that are read at most."""
    if name.lower().endswith(FIELDS_SUFFIX):
        return MAX_FIELDS_BYTES
    return MAX_CAPTION_BYTES if name.lower().endswith(TEXT_SUFFIXES) else MAX_SUBTITLE_BYTES


def _add_side_car(entry: Entry, name: str, content: bytes | None, corpus: Corpus) -> None:
    """Adds the captions of a file beside a source; what is wrong with it counts when there are no others."""
    base = uri_of(posixpath.basename(name))
    try:
        if content is None:
            raise ValueError("cannot be read")
        text = decoded(content, corpus.encoding, cut=len(content) == _limit(name))
        if name.lower().endswith(FIELDS_SUFFIX):
            add_fields(entry, corpus, read_fields(text), base)
        elif name.lower().endswith(TEXT_SUFFIXES):
            suffix = posixpath.splitext(name)[1].lower()
            entry.add(text, where=base, origin=f"{suffix} beside it")
        else:
            add_cues(entry, corpus, base, text)
    except ValueError as error:
        entry.doubt = entry.doubt or f"{base}: {error}"
