"""The layout `webdataset`: tars as img2dataset and video2dataset write them, read by their headers only."""

from __future__ import annotations

import json
import os
import posixpath
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from tasks.corpora.corpus import Corpus
from tasks.corpora.encodings import decoded
from tasks.corpora.entry import MAX_CAPTION_BYTES, Entry, record_of
from tasks.corpora.records import MediaPlace, SourceRecord
from tasks.corpora.tree import OUTSIDE, FoundFile, Tree, is_media, media_suffixes, reason_of, uri_of
from tasks.errors import ItemError, RequestError

SUFFIX = ".tar"
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
MAX_JSON_BYTES = 16 * 2**20
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
class _Contents:
    """The members of a tar that matter, by their names; of two with one name the later counts, as in tar."""

    media: dict[str, tarfile.TarInfo] = field(default_factory=dict)
    texts: dict[str, tarfile.TarInfo] = field(default_factory=dict)
    problem: str | None = None


def read_webdataset(corpus: Corpus, tree: Tree, name: str | None) -> Iterator[SourceRecord]:
    """Yields the media in one .tar, or in all of a folder, as `shard.tar/member`.

    A tar that is cut off or damaged gives its whole members and one source more, with that problem;
    RequestError for compressed tars, whose members cannot be reached without reading all before them.
    """
    if name is None:
        listing = tree.listing((SUFFIX,))
        for other in sorted(listing.others):
            refuse_compressed(f"{tree.root}/{uri_of(other)}")
        tars = list(listing.files.values())
    else:
        tars = [tree.find(name)]
    for found in tars:
        yield from _tar(corpus, tree, found)


def refuse_compressed(name: str) -> None:
    """Raises RequestError for the name of a compressed tar."""
    if name.lower().endswith(COMPRESSED):
        raise RequestError(f"{name}: compressed tars are not read; decompress it to .tar first")


def _tar(corpus: Corpus, tree: Tree, found: FoundFile) -> Iterator[SourceRecord]:
    contents = _Contents(problem=found.problem)
    try:
        if contents.problem is None:
            with tree.open(found.name) as file:
                contents = _scan(file, media_suffixes(corpus.kind))
                for name in _chosen(contents.media):
                    yield _member(corpus, found, contents, name, file)
    except (OSError, ItemError) as error:
        contents.problem = f"cannot be read: {reason_of(error)}"
    if contents.problem is not None:
        yield record_of(corpus, found, Entry(problem=contents.problem))


def _scan(file: BinaryIO, suffixes: tuple[str, ...]) -> _Contents:
    contents = _Contents()
    size_bytes = file.seek(0, os.SEEK_END)
    file.seek(0)
    try:
        with tarfile.open(fileobj=file, mode="r:", tarinfo=_Member) as tar:
            for member in tar:
                if member.isreg() and not 0 <= member.size <= size_bytes - member.offset_data:
                    raise tarfile.ReadError("unexpected end of data")
                if is_media(member.name, suffixes) and not member.isdir():
                    contents.media[member.name] = member
                elif member.isreg() and member.name.endswith((".txt", ".json")):
                    contents.texts[member.name] = member
            # Python's reader takes a damaged header for the end; a whole tar ends with a block of zeros.
            file.seek(tar.offset)
            if file.read(_BLOCK_BYTES) != bytes(_BLOCK_BYTES):
                raise tarfile.ReadError("unexpected end of data")
    except (tarfile.TarError, ValueError) as error:
        contents.problem = f"not a whole tar: {reason_of(error)}"
    return contents


def _chosen(media: dict[str, tarfile.TarInfo]) -> list[str]:
    """Gives the media of each key; `a.seg.png` is no source where there is an `a.jpg`."""
    plain = {_key(name) for name in media if posixpath.splitext(name)[0] == _key(name)}
    return sorted(
        name for name in media if _key(name) not in plain or posixpath.splitext(name)[0] == _key(name)
    )


def _key(name: str) -> str:
    """Members of one sample share the name up to its first dot."""
    folder, base = posixpath.split(name)
    return posixpath.join(folder, base.split(".", 1)[0])


def _member(corpus: Corpus, found: FoundFile, contents: _Contents, name: str, file: BinaryIO) -> SourceRecord:
    member, entry = contents.media[name], Entry()
    place = MediaPlace(found.url, offset=member.offset_data, size=member.size)
    if name.startswith("/") or ".." in name.split("/"):
        entry.problem = OUTSIDE
    elif not member.isreg() or member.issparse():
        entry.problem = "is not a regular file in its tar"
    else:
        _add_caption(entry, contents, name, file, corpus.encoding)
    return record_of(corpus, found, entry, uri=uri_of(f"{found.name}/{name}"), place=place)


def _add_caption(entry: Entry, contents: _Contents, name: str, file: BinaryIO, encoding: str | None) -> None:
    """Gives the `.txt` of the member, else the field `caption` of its `.json`."""
    stems = (posixpath.splitext(name)[0], _key(name))
    text = next((contents.texts[stem + ".txt"] for stem in stems if stem + ".txt" in contents.texts), None)
    if text is not None:
        _add_text(entry, file, text, encoding)
    fields = next(
        (contents.texts[stem + ".json"] for stem in stems if stem + ".json" in contents.texts), None
    )
    if not entry.captions and fields is not None:
        try:
            words = decoded(_read(file, fields, MAX_JSON_BYTES), encoding)
            caption = json.loads(words).get("caption")
            entry.add(caption if isinstance(caption, str) else "", where=uri_of(fields.name))
        except (ValueError, AttributeError, RecursionError):
            entry.problem = f"{uri_of(fields.name)}: not the fields of a sample as JSON"


def _add_text(entry: Entry, file: BinaryIO, member: tarfile.TarInfo, encoding: str | None) -> None:
    name = uri_of(member.name)
    try:
        content = _read(file, member, MAX_CAPTION_BYTES)
        entry.add(decoded(content, encoding, cut=len(content) == MAX_CAPTION_BYTES), where=name)
    except ValueError as error:
        entry.doubt = f"{name}: {error}"


def _read(file: BinaryIO, member: tarfile.TarInfo, size: int) -> bytes:
    file.seek(member.offset_data)
    return file.read(min(member.size, size))
