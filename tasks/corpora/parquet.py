"""The layout `parquet`: tables with the bytes of media in their cells, or with paths of files beside them.

Listing reads the light columns only, a batch of rows at a time; the bytes are read when a source is opened.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.corpora.column_names import CAPTION_COLUMNS, FILE_COLUMNS, LICENCE_COLUMNS
from tasks.corpora.columns import (
    SPANS_COLUMN,
    Columns,
    listed_names,
    stated_or,
    usual_name,
)
from tasks.corpora.companions import is_companion
from tasks.corpora.corpus import Corpus
from tasks.corpora.entry import Entry, record_of
from tasks.corpora.listed_files import listed_files
from tasks.corpora.parquet_rows import decoded_values, is_light, is_text, light_values
from tasks.corpora.records import MediaPlace, SourceRecord
from tasks.corpora.table_entries import fill, in_both_forms, note_elsewhere, places, text_of
from tasks.corpora.tree import FoundFile, Tree, reason_of, uri_of
from tasks.errors import ItemError, RequestError

SUFFIX = ".parquet"
PATH_COLUMNS = ("path", "file")


@dataclass(frozen=True)
class ParquetColumns:
    """Which column holds media, as bytes (`image.bytes` inside a struct) or as file paths, and which say what."""

    media: str
    holds_paths: bool
    said: Columns

    def light(self) -> list[str]:
        """Gives the columns that listing reads."""
        names = (self.said.caption, self.said.start, self.said.end, self.said.spans, self.said.licence)
        return [name for name in (*names, self.media if self.holds_paths else None) if name is not None]


def read_parquet(
    corpus: Corpus, tree: Tree, name: str | None, captions_needed: bool = True
) -> Iterator[SourceRecord]:
    """Yields the rows of one .parquet file, or of all in a folder, as `file.parquet#row`.

    Rows that name files become one source for each file, with all its captions. A file that is no parquet or
    is damaged becomes a source with that problem; RequestError when a column is missing, that of captions only if
    they are needed or `caption_column` names it.
    """
    files = [tree.find(name)] if name else list(tree.listing((SUFFIX,)).files.values())
    listed: dict[str, Entry] = {}
    for found in files:
        try:
            yield from _rows(corpus, tree, found, captions_needed, listed)
        except (ItemError, OSError) as error:
            entry = Entry(problem=f"cannot be read as parquet: {reason_of(error)}")
            yield record_of(corpus, found, entry)
    yield from listed_files(corpus, tree, listed)


def _rows(
    corpus: Corpus, tree: Tree, found: FoundFile, captions_needed: bool, listed: dict[str, Entry]
) -> Iterator[SourceRecord]:
    if found.problem is not None:
        yield record_of(corpus, found, Entry())
        return
    try:
        with tree.open(found.name) as file:
            schema = pq.ParquetFile(file).schema_arrow
            columns = parquet_columns(corpus, f"{tree.root}/{found.name}", schema, captions_needed)
            rows = light_values(file, schema, columns.light())
            yield from records_of_rows(corpus, found, columns, rows, listed)
    except (ItemError, RequestError):
        raise
    except Exception as error:  # damaged files make Arrow raise nearly anything
        raise ItemError(reason_of(error), stage="read") from None


def records_of_rows(
    corpus: Corpus,
    found: FoundFile,
    columns: ParquetColumns,
    rows: Iterable[dict[str, Any]],
    listed: dict[str, Entry],
    split: str | None = None,
) -> Iterator[SourceRecord]:
    """Gives the rows of one file with bytes in them; those with paths are added to what is `listed`."""
    uri = uri_of(found.name)
    for row, values in enumerate(rows):
        if columns.holds_paths:
            _list_paths(corpus, listed, columns, values, f"{uri}#{row}")
        else:
            entry = Entry()
            _fill(corpus, entry, columns, values, f"{uri}#{row}")
            place = MediaPlace(found.url, row=row, column=columns.media)
            yield record_of(corpus, found, entry, uri=f"{uri}#{row}", place=place, split=split)


def _list_paths(
    corpus: Corpus, listed: dict[str, Entry], columns: ParquetColumns, values: dict[str, Any], where: str
) -> None:
    value = values[columns.media]
    named = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
    folder = posixpath.dirname(where)
    names = places(columns.media, {columns.media: named})
    path, *candidates = (posixpath.join(folder, name) for name in names)
    if names[0] and not is_companion(path):
        entry = listed.setdefault(path, Entry(candidates=tuple(in_both_forms(candidates or [path]))))
        note_elsewhere(entry, text_of(named), where)
        _fill(corpus, entry, columns, values, where)


def _fill(corpus: Corpus, entry: Entry, columns: ParquetColumns, values: dict[str, Any], where: str) -> None:
    try:
        words = decoded_values(values, corpus.encoding)
    except ValueError as error:
        entry.doubt = f"{where}: {error}"
        return
    fill(entry, columns.said, words, where)


def parquet_columns(corpus: Corpus, where: str, schema: Any, captions_needed: bool = True) -> ParquetColumns:
    """Picks the columns of an Arrow schema; RequestError, naming the file, when one is missing or unclear."""
    names = schema.names
    caption = _caption_column(corpus, where, schema, captions_needed)
    spans = SPANS_COLUMN if SPANS_COLUMN in names and is_light(schema.field(SPANS_COLUMN).type) else None
    said = Columns(
        "",
        caption,
        stated_or(corpus.start_column, ("start_s",), names, where),
        stated_or(corpus.end_column, ("end_s",), names, where),
        spans,
        _licence_column(corpus, where, schema),
    )
    wanted = stated_or(corpus.bytes_column or corpus.file_column, (), names, where)
    among = [wanted] if wanted else [name for name in names if name != caption]
    media = {name: path for name in among if (path := _bytes_path(name, schema.field(name).type))}
    if len(media) > 1:
        raise RequestError(f"{where}: bytes in {', '.join(media)}; bytes_column says which to take")
    if media:
        return ParquetColumns(next(iter(media.values())), False, said)
    texts = [name for name in among if is_text(schema.field(name).type)]
    usual = [name for name in texts if name in PATH_COLUMNS] + [
        name for name in FILE_COLUMNS if name in texts
    ]
    if not wanted and not usual:
        raise RequestError(
            f"{where}: has no column of bytes and none called path or file (found: {listed_names(names)}); "
            "bytes_column names it"
        )
    if wanted and not texts:
        kind = schema.field(wanted).type
        raise RequestError(f"{where}: column {wanted!r} holds {kind}, neither bytes nor paths")
    return ParquetColumns(wanted or usual[0], True, said)


def _caption_column(corpus: Corpus, where: str, schema: Any, needed: bool) -> str | None:
    texts = [name for name in schema.names if is_text(schema.field(name).type)]
    # A column of that name with something else in it is refused below.
    others = "caption" if "caption" in schema.names else None
    caption = corpus.caption_column or usual_name(CAPTION_COLUMNS, texts) or others
    if caption is None and corpus.format == "hf":
        words = [name for name in texts if name not in FILE_COLUMNS]
        caption = words[0] if len(words) == 1 else None
    if caption is None and not needed:
        return None
    if caption is None or caption not in schema.names:
        missing = f"column {caption!r}" if caption else "column 'caption' or 'text'"
        raise RequestError(
            f"{where}: has no {missing} (found: {listed_names(schema.names)}); caption_column names another"
        )
    if not is_text(schema.field(caption).type):
        raise RequestError(f"{where}: column {caption!r} holds {schema.field(caption).type}, not text")
    return caption


def _licence_column(corpus: Corpus, where: str, schema: Any) -> str | None:
    texts = [name for name in schema.names if is_text(schema.field(name).type)]
    return stated_or(
        corpus.licence_column, LICENCE_COLUMNS, schema.names if corpus.licence_column else texts, where
    )


def _bytes_path(name: str, kind: Any) -> str | None:
    """Tells where a column has bytes: itself, or the field `bytes` of a struct as Hugging Face writes it."""

    def is_bytes(kind: Any) -> bool:
        return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)

    if is_bytes(kind):
        return name
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0 and is_bytes(kind.field("bytes").type):
        return f"{name}.bytes"
    return None
