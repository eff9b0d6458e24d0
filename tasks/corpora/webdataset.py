"""The layout `webdataset`: tars as img2dataset and video2dataset write them, read by their headers only."""

from __future__ import annotations

import os
import posixpath
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from tasks.corpora.companions import is_companion
from tasks.corpora.corpus import Corpus
from tasks.corpora.encodings import decoded
from tasks.corpora.entry import MAX_CAPTION_BYTES, Entry, record_of
from tasks.corpora.json_fields import MAX_JSON_BYTES, add_fields, is_failed_download, read_fields
from tasks.corpora.recognised import HEAD_BYTES, holds_kind, other_suffixes
from tasks.corpora.records import MediaPlace, SourceRecord
from tasks.corpora.tree import (
    OUTSIDE,
    FoundFile,
    Tree,
    is_media,
    media_suffixes,
    reason_of,
    suffix_of,
    uri_of,
)
from tasks.errors import ItemError, RequestError

SUFFIX = ".tar"
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_WORDS_SUFFIXES = (".txt", ".caption")
_FIELDS_SUFFIX = ".json"
_TEXT_SUFFIXES = (*_WORDS_SUFFIXES, _FIELDS_SUFFIX)
_BLOCK_BYTES = 512
_MAX_HEADER_BYTES = 2**20
# What stands before a member and says more of it, a long name, say.
_MORE_HEADERS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


class _Member(tarfile.TarInfo):
    """A member whose headers are short: Python reads them whole, however long they say that they are."""

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in _MORE_HEADERS and self.size > _MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {self.size} bytes")
        return super()._proc_member(tar)  # type: ignore[misc]


@dataclass
class _Sample:
    """The members of one key by their names, several of one name in their order; `others` are of no known kind.

    Texts are known by their names with the suffix in lower case.
    """

    media: dict[str, list[tarfile.TarInfo]] = field(default_factory=dict)
    texts: dict[str, list[tarfile.TarInfo]] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)

    def is_doubled(self) -> bool:
        """Tells whether its members are there unequally often, so that none can say which belong together."""
        return len({len(members) for members in (*self.media.values(), *self.texts.values())}) > 1

    def chosen(self, key: str) -> list[str]:
        """Gives the names of its media; `a.seg.png` is no source where there is an `a.jpg`."""
        plain = [name for name in self.media if posixpath.splitext(name)[0] == key]
        return plain or list(self.media)

    def unread(self, key: str) -> Iterator[str]:
        """Yields the names of its members that nobody looks at; of words without media only where there is more."""
        chosen = self.chosen(key)
        yield from (name for name, members in self.media.items() if name not in chosen for _ in members)
        yield from self.others
        if not self.media and self.others:
            yield from (name for name, members in self.texts.items() for _ in members)


@dataclass
class _Contents:
    """The samples of a tar by their keys, and what is wrong with it."""

    samples: dict[str, _Sample] = field(default_factory=dict)
    problem: str | None = None


def read_webdataset(
    corpus: Corpus, tree: Tree, name: str | None, unread: Counter[str] | None = None
) -> Iterator[SourceRecord]:
    """Yields the media in one .tar, or in all of a folder, as `shard.tar/member`.

    A tar that is cut off or damaged gives its whole members and one source more, with that problem. `unread` counts
    the members that nobody looks at, by their suffixes. RequestError for compressed tars, whose members cannot be
    reached without reading all before them.
    """
    if name is None:
        listing = tree.listing((SUFFIX,))
        for other in sorted(listing.others):
            refuse_compressed(f"{tree.root}/{uri_of(other)}")
        tars = list(listing.files.values())
    else:
        tars = [tree.find(name)]
    for found in tars:
        yield from _tar(corpus, tree, found, Counter() if unread is None else unread)


def refuse_compressed(name: str) -> None:
    """Raises RequestError for the name of a compressed tar."""
    if name.lower().endswith(COMPRESSED):
        raise RequestError(f"{name}: compressed tars are not read; decompress it to .tar first")


def _tar(corpus: Corpus, tree: Tree, found: FoundFile, unread: Counter[str]) -> Iterator[SourceRecord]:
    contents = _Contents(problem=found.problem)
    try:
        if contents.problem is None:
            with tree.open(found.name) as file:
                contents = _scan(file, corpus.kind)
                names = {name: key for key, sample in contents.samples.items() for name in sample.chosen(key)}
                for name in sorted(names):
                    yield from _members(corpus, found, contents.samples[names[name]], name, file)
                for key, sample in contents.samples.items():
                    unread.update(suffix_of(name) for name in sample.unread(key))
                    if not sample.media and not sample.others:
                        lonely = list(_lonely_words(corpus, found, sample, file))
                        unread.update(suffix_of(name) for name in sample.texts if not lonely)
                        yield from lonely
    except (OSError, ItemError) as error:
        contents.problem = f"cannot be read: {reason_of(error)}"
    if contents.problem is not None:
        yield record_of(corpus, found, Entry(problem=contents.problem))


def _scan(file: BinaryIO, kind: str) -> _Contents:
    contents = _Contents()
    size_bytes = file.seek(0, os.SEEK_END)
    file.seek(0)
    try:
        with tarfile.open(fileobj=file, mode="r:", tarinfo=_Member) as tar:
            for member in tar:
                if member.isreg() and not 0 <= member.size <= size_bytes - member.offset_data:
                    raise tarfile.ReadError("unexpected end of data")
                if not member.isdir() and not is_companion(member.name):
                    _sort_in(contents.samples, member, kind, file)
            # Python's reader takes a damaged header for the end; a whole tar ends with a block of zeros.
            file.seek(tar.offset)
            if file.read(_BLOCK_BYTES) != bytes(_BLOCK_BYTES):
                raise tarfile.ReadError("unexpected end of data")
    except (tarfile.TarError, ValueError) as error:
        contents.problem = f"not a whole tar: {reason_of(error)}"
    return contents


def _sort_in(samples: dict[str, _Sample], member: tarfile.TarInfo, kind: str, file: BinaryIO) -> None:
    sample = samples.setdefault(_key(member.name), _Sample())
    stem, suffix = posixpath.splitext(member.name)
    if is_media(member.name, media_suffixes(kind)) or _is_media_by_bytes(member, kind, file):
        sample.media.setdefault(member.name, []).append(member)
    elif member.isreg() and suffix.lower() in _TEXT_SUFFIXES:
        sample.texts.setdefault(stem + suffix.lower(), []).append(member)
    else:
        sample.others.append(member.name)


def _is_media_by_bytes(member: tarfile.TarInfo, kind: str, file: BinaryIO) -> bool:
    """Tells it of a member with the suffix of another kind of media, as of files: a film may be called `.jpg`."""
    if not member.isreg() or member.issparse() or not is_media(member.name, other_suffixes(kind)):
        return False
    return holds_kind(_read(file, member, HEAD_BYTES), kind)


def _key(name: str) -> str:
    """Members of one sample share the path up to the first dot of its last part, as in the library webdataset."""
    folder, base = posixpath.split(name)
    return posixpath.join(folder, base.split(".", 1)[0])


def _members(
    corpus: Corpus, found: FoundFile, sample: _Sample, name: str, file: BinaryIO
) -> Iterator[SourceRecord]:
    """Gives the source of a name: the last member of it, as tar has it; those before are named and not used."""
    *earlier, member = sample.media[name]
    entry = Entry()
    if name.startswith("/") or ".." in name.split("/"):
        entry.problem = OUTSIDE
    elif not member.isreg() or member.issparse():
        entry.problem = "is not a regular file in its tar"
    elif sample.is_doubled():
        entry.problem = (
            "members of its key are in the tar several times, and which belong together is not to be told"
        )
    else:
        _add_caption(entry, corpus, sample, name, file)
    yield _record(corpus, found, entry, member, name)
    for number, replaced in enumerate(earlier, start=1):
        problem = f"is in its tar {len(earlier) + 1} times; the last one counts"
        yield _record(corpus, found, Entry(problem=problem), replaced, f"{name} ({number})")


def _record(
    corpus: Corpus, found: FoundFile, entry: Entry, member: tarfile.TarInfo, name: str
) -> SourceRecord:
    place = MediaPlace(found.url, offset=member.offset_data, size=member.size)
    return record_of(corpus, found, entry, uri=uri_of(f"{found.name}/{name}"), place=place)


def _lonely_words(
    corpus: Corpus, found: FoundFile, sample: _Sample, file: BinaryIO
) -> Iterator[SourceRecord]:
    """Names words whose image or video is not there; what downloaders note of failures is no loss."""
    name, (member, *_) = next(iter(sample.texts.items()))
    problem = "words without an image or a video of their key"
    if not any(text.endswith(_WORDS_SUFFIXES) for text in sample.texts):
        said = Entry()
        try:
            fields = read_fields(decoded(_read(file, member, MAX_JSON_BYTES), corpus.encoding))
            add_fields(said, corpus, fields, name)
        except ValueError:
            return
        if not said.captions or is_failed_download(fields):
            return
    yield _record(corpus, found, Entry(problem=problem), member, member.name)


def _add_caption(entry: Entry, corpus: Corpus, sample: _Sample, name: str, file: BinaryIO) -> None:
    """Gives the `.txt` or `.caption` of the member or its key, else what its `.json` says."""
    stems = dict.fromkeys((posixpath.splitext(name)[0], _key(name)))

    def last(*suffixes: str) -> tarfile.TarInfo | None:
        names = (stem + suffix for suffix in suffixes for stem in stems)
        return next((sample.texts[name][-1] for name in names if name in sample.texts), None)

    words, fields = last(*_WORDS_SUFFIXES), last(_FIELDS_SUFFIX)
    if words is not None:
        _add_text(entry, file, words, corpus.encoding)
    if not entry.captions and fields is not None:
        where = uri_of(fields.name)
        try:
            text = decoded(_read(file, fields, MAX_JSON_BYTES), corpus.encoding)
            add_fields(entry, corpus, read_fields(text), where)
        except ValueError as error:
            entry.doubt = entry.doubt or f"{where}: {error}"


def _add_text(entry: Entry, file: BinaryIO, member: tarfile.TarInfo, encoding: str | None) -> None:
    name = uri_of(member.name)
    try:
        content = _read(file, member, MAX_CAPTION_BYTES)
        entry.add(
            decoded(content, encoding, cut=len(content) == MAX_CAPTION_BYTES),
            where=name,
            origin="words of its key",
        )
    except ValueError as error:
        entry.doubt = f"{name}: {error}"


def _read(file: BinaryIO, member: tarfile.TarInfo, size: int) -> bytes:
    file.seek(member.offset_data)
    return file.read(min(member.size, size))
