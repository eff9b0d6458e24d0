"""What the rows of a table say of files, whatever the table is written in."""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections.abc import Mapping
from pathlib import PurePosixPath

from tasks.corpora.column_names import PANDA_ID, WEBVID_ID
from tasks.corpora.columns import Columns
from tasks.corpora.companions import is_companion
from tasks.corpora.entry import Entry
from tasks.corpora.list_cells import captions_in, spans_in, spread
from tasks.corpora.tables import Row
from tasks.corpora.tree import uri_of

_VIDEO_FOLDERS = ("videos", "video")
_USUAL_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".mp4")
_NOTHING = ("nan", "null", "none", "n/a", "<na>", "#n/a")
"""What programs write into a cell that is empty."""
_ABSOLUTE = re.compile("/|[A-Za-z]:/")
_PANDA_SUFFIXES = (".mp4", ".webm", ".mkv")


def add_row(entries: dict[str, Entry], columns: Columns, row: Row, table: str, root: str) -> None:
    """Adds what a row says to the entry of its file; one that names none, for want of fields, gets its own entry.

    `table` is the table's path in the corpus, which lies at `root`.
    """
    base = posixpath.basename(table)
    if columns.file not in row.values:
        problem = row.problem or f"{base}: line {row.line}: names no file"
        entries[f"{table}:{row.line}"] = Entry(problem=problem, names_file=False)
        return
    named = places(columns.file, row.values, root)
    name, *candidates = (posixpath.join(posixpath.dirname(table), place) for place in named)
    if not named[0] or is_companion(name):
        return
    uri = uri_of(name)
    candidates = in_both_forms(candidates or [name])
    if candidates == [uri]:
        candidates = []
    where = f"{base}: line {row.line}"
    entry = entries.setdefault(uri, Entry(candidates=tuple(candidates)))
    note_elsewhere(entry, text_of(row.values[columns.file]), where, root)
    # Excel leaves empty cells at the end of a row out: what is not read is not missed.
    is_short = len(row.values) < len(row.header)
    if row.problem is not None and not (is_short and (columns.caption or columns.file) in row.values):
        entry.problem = entry.problem or row.problem
        return
    fill(entry, columns, row.values, where)


def note_elsewhere(entry: Entry, written: str, where: str, root: str = "") -> None:
    """Notes of a path or an address that leads elsewhere than into a corpus what it is, and what is expected."""
    written = written.strip()
    path = written.replace("\\", "/")
    if "://" in written:
        kind = "an address; download the files, and name them relative to the table"
    elif _ABSOLUTE.match(path):
        kind = "a path of another folder" if path.startswith("/") and path == written else "a Windows path"
        home = posixpath.basename(root)
        kind += "; expected is one relative to the table" + (
            f", or below a folder called {home}" if home else ""
        )
    else:
        return
    entry.if_missing = entry.if_missing or f"{where} names {written[:200]}: {kind}"


def in_both_forms(names: list[str]) -> list[str]:
    """Gives the names, then their other forms: macOS writes letters and accents apart where tables have them as one."""
    forms = [
        unicodedata.normalize(form, name) for form in ("NFC", "NFD") for name in names if not name.isascii()
    ]
    return list(dict.fromkeys((*names, *forms)))


def fill(entry: Entry, columns: Columns, values: Mapping[str, object], where: str) -> None:
    """Adds the captions and the licence of a row; what is wrong with it becomes the entry's problem."""

    def value(column: str | None) -> object:
        return None if column is None else values.get(column)

    licence = text_of(value(columns.licence)).strip()
    if any(letter.isalpha() for letter in licence):  # "?" and numbers of a list elsewhere name none
        entry.licence = entry.licence or licence
    try:
        captions = captions_in(value(columns.caption))
        spans = spans_in(value(columns.spans))
        if spans is None:
            starts, ends = (spread(value(name), len(captions)) for name in (columns.start, columns.end))
        elif len(spans) == len(captions):
            starts, ends = [span[0] for span in spans], [span[1] for span in spans]
        else:
            raise ValueError(f"{len(spans)} spans of time for {len(captions)} captions")
        for caption, start, end in zip(captions, starts, ends, strict=True):
            text = text_of(caption)
            if text.strip().lower() not in _NOTHING:
                entry.add(text, start, end, where, f"column {columns.caption}")
    except ValueError as error:
        entry.problem = f"{where}: {error}"


def places(column: str, values: Mapping[str, object], root: str = "") -> tuple[str, ...]:
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
    written = clean_path(named)
    path = clean_path(named.replace("\\", "/")) if "/" not in named else written  # as Windows writes it
    if column.lower() == "file" or path.startswith(".."):
        return (path,) if path == written else (path, path, written)
    inside = _inside(path, root)
    if _ABSOLUTE.match(path) and inside:
        return (*inside, *inside, path)
    # kohya's metadata may name a file without its suffix.
    bare = [path + suffix for suffix in _USUAL_SUFFIXES] if "." not in posixpath.basename(path) else []
    return path, *inside, path, written, *bare, *(posixpath.join(folder, path) for folder in _VIDEO_FOLDERS)


def _inside(path: str, root: str) -> tuple[str, ...]:
    """Gives the path behind the corpus's own folder: trainers take paths from where they are started, or from `/`."""
    parts, home = path.split("/"), posixpath.basename(root)
    if not home or home not in parts[:-1]:
        return ()
    last = len(parts) - 1 - parts[::-1].index(home)
    return () if ".." in parts[last:] else ("/".join(parts[last + 1 :]),)


def clean_path(text: str) -> str:
    """`./a//b.png` and `a/b.png` are one file; `..` is kept, for the tree to refuse."""
    text = text.strip()
    return PurePosixPath(text).as_posix() if text else ""


def text_of(value: object) -> str:
    """Gives a cell as text; nothing is an empty one."""
    return "" if value is None else str(value)
