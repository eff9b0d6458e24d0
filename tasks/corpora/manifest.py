"""Manifests: TSV or CSV tables that give files their captions, among them WebVid's."""

from __future__ import annotations

import csv
import math
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from tasks.corpora.records import CaptionSpan
from tasks.errors import RequestError

MANIFEST_NAMES = ("manifest.tsv", "manifest.csv")
MAX_CAPTION_CHARACTERS = 1000  # no text encoder reads further
MAX_FIELD_BYTES = 64 * 2**20


@dataclass
class Entry:
    """What a table says about one file; `candidates` are the places to look for it, if there are several."""

    captions: list[CaptionSpan] = field(default_factory=list)
    licence: str = ""
    candidates: tuple[str, ...] = ()
    problem: str | None = None


def find_manifest(folder: Path) -> Path | None:
    """The manifest of a folder, if it has one."""
    return next((folder / name for name in MANIFEST_NAMES if (folder / name).is_file()), None)


def read_manifest(path: Path, caption_column: str | None = None) -> dict[str, Entry]:
    """Reads a table with `file` and `caption` (and `start_s`, `end_s`, `licence`), or WebVid's columns.

    Several rows of one file add up. A bad row becomes its entry's `problem`; RequestError when the
    table itself cannot be read or lacks a column.
    """
    entries: dict[str, Entry] = {}
    webvid: bool | None = None
    for row in _rows(path):
        if webvid is None:
            webvid = "file" not in row and "videoid" in row
            caption_column = caption_column or ("name" if webvid else "caption")
            _check_columns(path, row, ("videoid",) if webvid else ("file",), caption_column)
        assert caption_column is not None
        uri, candidates = _webvid_place(row) if webvid else (_clean_path(row["file"]), ())
        if not uri:
            continue
        entry = entries.setdefault(uri, Entry(candidates=candidates))
        entry.licence = entry.licence or row.get("licence", "").strip()
        try:
            caption = _caption(row, caption_column)
        except ValueError as error:
            entry.problem = f"{path.name}: {error}"
            continue
        if caption is not None:
            entry.captions.append(caption)
    return entries


def normalise_caption(text: str) -> str:
    """One line of NFC text without control characters, runs of blanks as one, at most 1000 characters."""
    text = unicodedata.normalize("NFC", text[: 4 * MAX_CAPTION_CHARACTERS])
    printable = "".join(c if unicodedata.category(c) not in ("Cc", "Cs") else " " for c in text)
    return " ".join(printable.split())[:MAX_CAPTION_CHARACTERS]


def _rows(path: Path) -> Iterator[dict[str, str]]:
    csv.field_size_limit(MAX_FIELD_BYTES)
    # A tab separates without any quoting: a lone quote in a caption must not swallow the rows below.
    tabs = path.suffix.lower() in (".tsv", ".tab")
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            reader = csv.DictReader(
                (line.replace("\0", "") for line in file),
                delimiter="\t" if tabs else ",",
                quoting=csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL,
                restval="",
            )
            for row in reader:
                yield {key: value for key, value in row.items() if isinstance(key, str)}
    except OSError as error:
        raise RequestError(f"{path}: cannot be read: {error.strerror}") from None
    except csv.Error as error:
        raise RequestError(f"{path}: not a table that can be read: {error}") from None


def _check_columns(path: Path, row: dict[str, str], needed: tuple[str, ...], caption_column: str) -> None:
    for column in (*needed, caption_column):
        if column not in row:
            found = ", ".join(row) or "none"
            raise RequestError(f"{path}: has no column {column!r} (found: {found})")


def _webvid_place(row: dict[str, str]) -> tuple[str, tuple[str, ...]]:
    """WebVid's videos lie under `page_dir/videoid.mp4` where its usual downloaders put them."""
    video_id, page = row["videoid"].strip(), row.get("page_dir", "").strip()
    if not video_id:
        return "", ()
    name = f"{page}/{video_id}.mp4" if page else f"{video_id}.mp4"
    return _clean_path(name), (name, f"videos/{name}", f"{video_id}.mp4")


def _clean_path(text: str) -> str:
    """`./a//b.png` and `a/b.png` are one file; `..` is kept, for the reader to refuse."""
    text = text.strip()
    return PurePosixPath(text).as_posix() if text else ""


def _caption(row: dict[str, str], caption_column: str) -> CaptionSpan | None:
    text = normalise_caption(row.get(caption_column) or "")
    if not text:
        return None
    start_s, end_s = _seconds(row, "start_s"), _seconds(row, "end_s")
    if start_s is not None and end_s is not None and end_s <= start_s:
        raise ValueError(f"end_s {end_s:g} does not lie after start_s {start_s:g}")
    return CaptionSpan(text, start_s, end_s)


def _seconds(row: dict[str, str], column: str) -> float | None:
    text = (row.get(column) or "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{column} is not a number of seconds: {text[:40]!r}") from None
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{column} is not a number of seconds: {text[:40]!r}")
    return value
