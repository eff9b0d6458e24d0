"""The layout `parquet`: tables with the bytes of media in their cells, or with paths of files beside them.

Listing reads the light columns only, a batch of rows at a time; the bytes are read when a source is opened.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.corpora.corpus import Corpus
from tasks.corpora.encodings import decoded_utf8
from tasks.corpora.entry import Entry, record_of
from tasks.corpora.folder import listed_files
from tasks.corpora.records import MediaPlace, SourceRecord
from tasks.corpora.table_entries import clean_path
from tasks.corpora.tree import FoundFile, Tree, reason_of, uri_of
from tasks.errors import ItemError, RequestError

SUFFIX = ".parquet"
CAPTION_COLUMNS = ("caption", "text")
PATH_COLUMNS = ("path", "file")
ROWS_PER_BATCH = 1024


@dataclass(frozen=True)
class Columns:
    """Which columns say what; `media` holds bytes (a path like `image.bytes` inside a struct) or file paths."""

    media: str
    holds_paths: bool
    caption: str | None
    others: tuple[str, ...]

    def light(self) -> list[str]:
        """Gives the columns that listing reads."""
        captions = [] if self.caption is None else [self.caption]
        return [*captions, *self.others, *([self.media] if self.holds_paths else [])]


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
    """Gives the rows of one file with bytes in them; those with paths are added to what is `listed`."""
    if found.problem is not None:
        yield record_of(corpus, found, Entry())
        return

    uri = uri_of(found.name)
    try:
        with tree.open(found.name) as file:
            where = f"{tree.root}/{found.name}"
            schema = pq.ParquetFile(file).schema_arrow
            columns = find_columns(corpus, where, schema, captions_needed)
            # As a dictionary a text is in memory once, whatever number of rows a small file gives it. Of texts in
            # lists Arrow makes none.
            texts = [name for name in columns.light() if not pa.types.is_nested(schema.field(name).type)]
            table = pq.ParquetFile(file, read_dictionary=texts)
            for row, values in enumerate(_values(table, columns.light())):
                if columns.holds_paths:
                    path = clean_path(_path(values[columns.media]))
                    if path:
                        entry = listed.setdefault(posixpath.join(posixpath.dirname(uri), path), Entry())
                        _fill(corpus, entry, f"{uri}#{row}", values, columns.caption)
                else:
                    entry = Entry()
                    _fill(corpus, entry, f"{uri}#{row}", values, columns.caption)
                    place = MediaPlace(found.url, row=row, column=columns.media)
                    yield record_of(corpus, found, entry, uri=f"{uri}#{row}", place=place)
    except (ItemError, RequestError):
        raise
    except Exception as error:  # damaged files make Arrow raise nearly anything
        raise ItemError(reason_of(error), stage="read") from None


def _fill(corpus: Corpus, entry: Entry, where: str, values: dict[str, Any], caption: str | None) -> None:
    texts = None if caption is None else values[caption]
    try:
        entry.licence = entry.licence or _text(values.get("licence"), corpus.encoding).strip()
        words = [_text(text, corpus.encoding) for text in (texts if isinstance(texts, list) else [texts])]
    except ValueError as error:
        entry.doubt = f"{where}: {error}"
        return
    try:
        for text in words:
            entry.add(text, values.get("start_s"), values.get("end_s"), where)
    except ValueError as error:
        entry.problem = f"{where}: {error}"


def find_columns(corpus: Corpus, where: str, schema: Any, captions_needed: bool = True) -> Columns:
    """Picks the columns of an Arrow schema; RequestError, naming the file, when one is missing or unclear."""
    caption = _caption_column(corpus, where, schema, captions_needed)
    found = _names(schema)
    others = tuple(name for name in ("start_s", "end_s", "licence") if name in schema.names)
    wanted = corpus.bytes_column
    if wanted is not None and wanted not in schema.names:
        raise RequestError(f"{where}: has no column {wanted!r} (found: {found})")
    names = [wanted] if wanted else [name for name in schema.names if name != caption]
    media = {name: path for name in names if (path := _bytes_path(name, schema.field(name).type))}
    if len(media) > 1:
        raise RequestError(f"{where}: bytes in {', '.join(media)}; bytes_column says which to take")
    if media:
        return Columns(next(iter(media.values())), False, caption, others)
    paths = [name for name in names if (wanted or name in PATH_COLUMNS) and _is_text(schema.field(name).type)]
    if not paths:
        raise RequestError(
            f"{where}: has no column of bytes and none called path or file (found: {found}); "
            "bytes_column names it"
        )
    return Columns(paths[0], True, caption, others)


def _caption_column(corpus: Corpus, where: str, schema: Any, needed: bool) -> str | None:
    caption = corpus.caption_column or next((name for name in CAPTION_COLUMNS if name in schema.names), None)
    if caption is None and not needed:
        return None
    if caption is None or caption not in schema.names:
        missing = f"column {caption!r}" if caption else "column 'caption' or 'text'"
        raise RequestError(
            f"{where}: has no {missing} (found: {_names(schema)}); caption_column names another"
        )
    if not _is_text(schema.field(caption).type):
        raise RequestError(f"{where}: column {caption!r} holds {schema.field(caption).type}, not text")
    return caption


def _names(schema: Any) -> str:
    return ", ".join(schema.names)[:300] or "none"


def _bytes_path(name: str, kind: Any) -> str | None:
    """Tells where a column has bytes: itself, or the field `bytes` of a struct as Hugging Face writes it."""

    def is_bytes(kind: Any) -> bool:
        return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)

    if is_bytes(kind):
        return name
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0 and is_bytes(kind.field("bytes").type):
        return f"{name}.bytes"
    return None


def _is_text(kind: Any) -> bool:
    if pa.types.is_dictionary(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind):
        kind = kind.value_type
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _values(table: Any, names: list[str]) -> Iterator[dict[str, Any]]:
    """Gives the rows of some columns; texts as bytes, for files in the wild hold texts that are no UTF-8."""
    for batch in table.iter_batches(ROWS_PER_BATCH, columns=names):
        columns = [_texts_as_bytes(batch.column(name)) for name in names]
        for index in range(batch.num_rows):
            yield {name: column[index].as_py() for name, column in zip(names, columns, strict=True)}


def _texts_as_bytes(column: Any) -> Any:
    if pa.types.is_dictionary(column.type):
        return pa.DictionaryArray.from_arrays(column.indices, _texts_as_bytes(column.dictionary))
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return column.cast(pa.large_binary())
    return column.cast(pa.large_list(pa.large_binary())) if _is_text(column.type) else column


def _text(value: Any, encoding: str | None) -> str:
    """Gives the words of a cell, which are UTF-8 where a table was written as it should be."""
    if not isinstance(value, bytes):
        return "" if value is None else str(value)
    return decoded_utf8(value, encoding)


def _path(value: Any) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value or "")
