"""Which columns of a table say what: those that the corpus names, else those with the names that tables have."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from tasks.corpora.column_names import (
    CAPTION_COLUMNS,
    FILE_COLUMNS,
    LICENCE_COLUMNS,
    WEBVID_ID,
)
from tasks.corpora.corpus import Corpus
from tasks.corpora.tables import Row
from tasks.errors import RequestError

SPANS_COLUMN = "timestamp"  # Panda-70M's: a list of [begin, end], one for each caption


@dataclass(frozen=True)
class Columns:
    """The columns of a table; None for what it does not say."""

    file: str
    caption: str | None
    start: str | None = None
    end: str | None = None
    spans: str | None = None
    licence: str | None = None


def find_columns(corpus: Corpus, where: str, names: Collection[str], captions_needed: bool) -> Columns:
    """Picks among the names of a table's columns; RequestError, naming the table, when one is missing.

    That of captions may be missing unless captions are needed or the corpus names it.
    """
    file = stated_or(corpus.file_column, FILE_COLUMNS, names, where)
    if file is None:
        raise _missing("file", "file_column", where, names)
    captions = ("name",) if file == WEBVID_ID else CAPTION_COLUMNS
    caption = stated_or(corpus.caption_column, (name for name in captions if name != file), names, where)
    if caption is None and captions_needed:
        raise _missing(captions[0], "caption_column", where, names)
    return Columns(
        file,
        caption,
        stated_or(corpus.start_column, ("start_s",), names, where),
        stated_or(corpus.end_column, ("end_s",), names, where),
        SPANS_COLUMN if SPANS_COLUMN in names else None,
        stated_or(corpus.licence_column, LICENCE_COLUMNS, names, where),
    )


def find_metadata_columns(corpus: Corpus, where: str, row: Row) -> Columns | None:
    """Picks those of Hugging Face's metadata, `file_name` or `*_file_name`, else those of any table.

    None for a table that names no files, or has no captions either. Beside `file_name` the column of captions may have
    another name: it is then the only one with several words in the first row.
    """
    names = row.header
    ours = [name for name in names if name.endswith("_file_name")]
    file = stated_or(corpus.file_column, ("file_name",), names, where)
    if file is None and len(ours) > 1:
        raise RequestError(f"{where}: files in {listed_names(ours)}; file_column says which to take")
    if file is None and not ours:
        try:
            return find_columns(corpus, where, names, captions_needed=True)
        except RequestError:
            return None
    file = file or ours[0]
    columns = find_columns(
        corpus.model_copy(update={"file_column": file}), where, names, captions_needed=False
    )
    return columns if columns.caption is not None else replace(columns, caption=_guessed(row, {file, *ours}))


def _guessed(row: Row, others: Collection[str]) -> str | None:
    words = [
        name
        for name, value in row.values.items()
        if name not in others and isinstance(value, str) and len(value.split()) > 1
    ]
    return words[0] if len(words) == 1 else None


def stated_or(stated: str | None, usual: Iterable[str], names: Collection[str], where: str) -> str | None:
    """Gives the stated column, else the first usual one that is there; RequestError where the stated one is not."""
    if stated is None:
        return usual_name(list(usual), names)
    if stated not in names:
        raise RequestError(f"{where}: has no column {stated!r} (found: {listed_names(names)})")
    return stated


def usual_name(usual: Sequence[str], names: Collection[str]) -> str | None:
    """Gives the first usual name that is there, else the first that is there in other letters, as in `File`.

    Those of WebVid and Panda-70M differ in nothing else.
    """
    exact = next((name for name in usual if name in names), None)
    spelt = {name.lower(): name for name in names if name.lower() != WEBVID_ID}
    return exact or next((spelt[name] for name in usual if name in spelt), None)


def listed_names(names: Iterable[str]) -> str:
    """Gives the names of columns, for messages."""
    return ", ".join(names)[:300] or "none"


def _missing(usual: str, key: str, where: str, names: Collection[str]) -> RequestError:
    return RequestError(
        f"{where}: has no column {usual!r} (found: {listed_names(names)}); {key} of the corpus names another"
    )
