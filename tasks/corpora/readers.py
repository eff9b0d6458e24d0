"""Readers: one per layout, each turning a corpus into source records without decoding any media."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from tasks.corpora.corpus import Corpus
from tasks.corpora.manifest import Entry, find_manifest, normalise_caption, read_manifest
from tasks.corpora.records import CaptionSpan, MediaPlace, SourceRecord, source_id

__all__ = ["CaptionSpan", "SourceRecord", "read_sources"]

# fmt: off
VIDEO_SUFFIXES = (
    ".3gp", ".avi", ".flv", ".gif", ".m4v", ".mkv", ".mov",
    ".mp4", ".mpeg", ".mpg", ".ogv", ".ts", ".webm", ".wmv",
)
IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
# fmt: on
NO_CAPTION = "no caption; add a row to the manifest or a .txt beside the file"


def read_sources(corpus: Corpus) -> Iterator[SourceRecord]:
    """Yields the sources of a corpus in the order of their names.

    Bad sources come with a `problem`, never as an exception; RequestError when the corpus's own
    table (manifest or CSV) cannot be read.
    """
    readers = {"folder": _read_folder, "csv": _read_csv, "class-folders": _read_class_folders}
    yield from readers[corpus.format](corpus)


def _read_folder(corpus: Corpus) -> Iterator[SourceRecord]:
    manifest = find_manifest(corpus.path)
    entries = read_manifest(manifest, corpus.caption_column) if manifest else {}
    files = {_uri(corpus.path, path): path for path in _media_files(corpus)}
    for uri in sorted(files.keys() | entries.keys()):
        entry = entries.get(uri) or _side_car(files[uri])
        yield _record(corpus, uri, files.get(uri) or corpus.path / uri, entry, "given")


def _read_csv(corpus: Corpus) -> Iterator[SourceRecord]:
    entries = read_manifest(corpus.path, corpus.caption_column)
    for uri in sorted(entries):
        entry = entries[uri]
        candidates = [corpus.path.parent / candidate for candidate in entry.candidates or (uri,)]
        path = next((candidate for candidate in candidates if os.path.lexists(candidate)), candidates[0])
        yield _record(corpus, uri, path, entry, "given", root=corpus.path.parent)


def _read_class_folders(corpus: Corpus) -> Iterator[SourceRecord]:
    for path in _media_files(corpus):
        entry = Entry()
        if path.parent != corpus.path:
            prompt = corpus.prompt_template.replace("{label}", label_words(path.parent.name))
            entry.captions.append(CaptionSpan(normalise_caption(prompt)))
        else:
            entry.problem = "lies in no class folder, so it has no label"
        yield _record(corpus, _uri(corpus.path, path), path, entry, "label")


def label_words(label: str) -> str:
    """The words of a class label: `ApplyEyeMakeup`, `apply_eye_makeup` -> `apply eye makeup`."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", label)
    return " ".join(re.sub(r"[_\-]+", " ", spaced).split()).lower()


def _media_files(corpus: Corpus) -> Iterator[Path]:
    suffixes = IMAGE_SUFFIXES if corpus.kind == "images" else VIDEO_SUFFIXES
    for folder, folders, files in os.walk(corpus.path):  # links to folders are not followed: they may loop
        folders.sort()
        for name in sorted(files):
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in suffixes:
                yield Path(folder) / name


def _uri(root: Path, path: Path) -> str:
    """The path inside the corpus as text; bytes that are no UTF-8 are written as \\xNN."""
    relative = path.relative_to(root).as_posix()
    return relative.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _side_car(path: Path) -> Entry:
    entry = Entry()
    try:
        text = normalise_caption(path.with_suffix(".txt").read_text(encoding="utf-8-sig", errors="replace"))
    except OSError:
        return entry
    if text:
        entry.captions.append(CaptionSpan(text))
    return entry


def _record(
    corpus: Corpus, uri: str, path: Path, entry: Entry, origin: str, root: Path | None = None
) -> SourceRecord:
    size_bytes, mtime_ns, problem = _stat(path, root or corpus.path)
    return SourceRecord(
        source_id=source_id(corpus.name, uri),
        uri=uri,
        place=MediaPlace(str(path)),
        corpus=corpus.name,
        kind=corpus.kind,
        licence=entry.licence or corpus.licence,
        captions=tuple(entry.captions),
        caption_origin=origin,
        size_bytes=size_bytes,
        mtime_ns=mtime_ns,
        problem=problem or entry.problem or (None if entry.captions else NO_CAPTION),
    )


def _stat(path: Path, root: Path) -> tuple[int, int, str | None]:
    """Size, time of change and what is wrong with the file, if anything."""
    try:
        if not path.resolve(strict=True).is_relative_to(root.resolve()):
            return 0, 0, "lies outside its corpus"
        status = path.stat()
    except FileNotFoundError:
        # The path may point outside even where nothing lies.
        inside = Path(os.path.normpath(path)).is_relative_to(root)
        return 0, 0, "no such file" if inside else "lies outside its corpus"
    except (OSError, RuntimeError, ValueError) as error:  # links in a circle, no permission, a NUL in a name
        return 0, 0, f"cannot be read: {getattr(error, 'strerror', None) or error}"
    if not stat.S_ISREG(status.st_mode):
        return 0, 0, "is not a regular file"
    return status.st_size, status.st_mtime_ns, None
