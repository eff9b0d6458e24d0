"""What the rows of a table say of files, whatever the table is written in."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from pathlib import PurePosixPath

from tasks.corpora.columns import PANDA_ID, WEBVID_ID, Columns
from tasks.corpora.companions import is_companion
from tasks.corpora.entry import Entry
from tasks.corpora.list_cells import captions_in, spans_in, spread
from tasks.corpora.tables import Row

_VIDEO_FOLDERS = ("videos", "video")
_PANDA_SUFFIXES = (".mp4", ".webm", ".mkv")


def add_row(entries: dict[str, Entry], columns: Columns, row: Row, table: str) -> None:
    """Adds what a row says to the entry of its file; a row too short to name one gets an entry of its own."""
    if columns.file not in row.values:
        entries[f"{table}:{row.line}"] = Entry(problem=row.problem, names_file=False)
        return
    uri, *candidates = places(columns.file, row.values)
    if not uri or is_companion(uri):
        return
    entry = entries.setdefault(uri, Entry(candidates=tuple(candidates)))
    # Excel leaves empty cells at the end of a row out: what is not read is not missed.
    is_short = len(row.values) < len(row.header)
    if row.problem is not None and not (is_short and (columns.caption or columns.file) in row.values):
        entry.problem = entry.problem or row.problem
        return
    fill(entry, columns, row.values, f"{table}: line {row.line}")


def fill(entry: Entry, columns: Columns, values: Mapping[str, object], where: str) -> None:
    """Adds the captions and the licence of a row; what is wrong with it becomes the entry's problem."""

    def value(column: str | None) -> object:
        return None if column is None else values.get(column)

    entry.licence = entry.licence or text_of(value(columns.licence)).strip()
    try:
        captions = captions_in(value(columns.caption))
        spans = spans_in(value(columns.spans))
        if spans is None:
            starts, ends = (spread(value(name), len(captions)) for name in (columns.start, columns.end))
        elif len(spans) == len(captions):
            starts, ends = [span[0] for span in spans], [span[1] for span in spans]
        else:
            raise ValueError(f"{len(spans)} spans of time for {len(captions)} captions")
        for text, start, end in zip(captions, starts, ends, strict=True):
            entry.add(text_of(text), start, end, where)
    except ValueError as error:
        entry.problem = f"{where}: {error}"


def places(column: str, values: Mapping[str, object]) -> tuple[str, ...]:
    """Gives the path that names the file of a row, then all places where it may lie; an empty path for none."""
    named = text_of(values[column]).strip()
    if not named:
        return ("",)
    if column == WEBVID_ID:
        # WebVid's videos lie under `page_dir/videoid.mp4` where its usual downloaders put them.
        page = text_of(values.get("page_dir")).strip()
        name = f"{page}/{named}.mp4" if page else f"{named}.mp4"
        return clean_path(name), name, f"videos/{name}", f"{named}.mp4"
    if column == PANDA_ID:
        names = [f"{named}{suffix}" for suffix in _PANDA_SUFFIXES]
        return names[0], *names, *(f"{folder}/{name}" for folder in _VIDEO_FOLDERS for name in names)
    path = clean_path(named)
    if column == "file" or path.startswith("/"):
        return (path,)
    return path, path, *(posixpath.join(folder, path) for folder in _VIDEO_FOLDERS)


def clean_path(text: str) -> str:
    """`./a//b.png` and `a/b.png` are one file; `..` is kept, for the tree to refuse."""
    text = text.strip()
    return PurePosixPath(text).as_posix() if text else ""


def text_of(value: object) -> str:
    """Gives a cell as text; nothing is an empty one."""
    return "" if value is None else str(value)
