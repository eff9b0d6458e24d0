"""Manifests: TSV or CSV tables that give files their captions, among them WebVid's."""

from __future__ import annotations

import codecs
import csv
import io
import posixpath
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from tasks.corpora.entry import Entry
from tasks.corpora.tree import Tree, reason_of
from tasks.errors import ItemError, RequestError

MANIFEST_NAMES = ("manifest.tsv", "manifest.csv")
MAX_FIELD_BYTES = 64 * 2**20
_END = "\0"  # no line of a table keeps one


def read_manifest(
    tree: Tree, name: str, caption_column: str | None = None, captions_needed: bool = True
) -> dict[str, Entry]:
    """Reads a table with `file` and `caption` (and `start_s`, `end_s`, `licence`), or WebVid's columns.

    Several rows of one file add up. A bad row becomes its entry's `problem`; RequestError when the
    table itself cannot be read or lacks a column, that of captions only if they are needed or it is named.
    """
    entries: dict[str, Entry] = {}
    webvid: bool | None = None
    for row in _rows(tree, name):
        if webvid is None:
            webvid = "file" not in row and "videoid" in row
            captions_needed = captions_needed or caption_column is not None
            caption_column = caption_column or ("name" if webvid else "caption")
            media_column = "videoid" if webvid else "file"
            needed = [media_column, caption_column] if captions_needed else [media_column]
            _check_columns(f"{tree.root}/{name}", row, needed)
        assert caption_column is not None
        uri, candidates = _webvid_place(row) if webvid else (clean_path(row["file"]), ())
        if not uri:
            continue
        entry = entries.setdefault(uri, Entry(candidates=candidates))
        entry.licence = entry.licence or row.get("licence", "").strip()
        try:
            entry.add(row.get(caption_column, ""), row.get("start_s"), row.get("end_s"))
        except ValueError as error:
            entry.problem = f"{posixpath.basename(name)}: {error}"
    return entries


def clean_path(text: str) -> str:
    """`./a//b.png` and `a/b.png` are one file; `..` is kept, for the tree to refuse."""
    text = text.strip()
    return PurePosixPath(text).as_posix() if text else ""


def _rows(tree: Tree, name: str) -> Iterator[dict[str, str]]:
    where = f"{tree.root}/{name}"
    csv.field_size_limit(MAX_FIELD_BYTES)
    # A tab separates without any quoting: a lone quote in a caption must not swallow the rows below.
    tabs = posixpath.splitext(name)[1].lower() in (".tsv", ".tab")
    try:
        with io.TextIOWrapper(tree.open(name), "utf-8-sig", _BYTES_AS_CP1252, newline="") as file:
            table = csv.reader(
                _lines(file),
                delimiter="\t" if tabs else ",",
                quoting=csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL,
            )
            header: list[str] = []
            line = 1
            for values in table:
                if values and values[-1].endswith(_END) and values != [_END]:
                    raise RequestError(f"{where}: line {line}: a quote is opened and never closed")
                line = table.line_num + 1
                if not header:
                    header = values
                elif values and values != [_END]:
                    yield dict.fromkeys(header, "") | dict(zip(header, values, strict=False))
    except (OSError, ItemError) as error:
        raise RequestError(f"{where}: cannot be read: {reason_of(error)}") from None
    except csv.Error as error:
        raise RequestError(f"{where}: not a table that can be read: {error}") from None


def _lines(file: io.TextIOWrapper) -> Iterator[str]:
    """Gives the lines, none of them huge, and an end mark, which a quote that is never closed takes into its field."""
    number = 0
    while line := file.readline(MAX_FIELD_BYTES):
        number += 1
        if len(line) == MAX_FIELD_BYTES:
            raise csv.Error(f"line {number}: is longer than {MAX_FIELD_BYTES // 2**20} MB")
        yield line.replace("\0", "")
    yield _END


def _as_cp1252(error: UnicodeError) -> tuple[str, int]:
    """Decodes bytes that are no UTF-8 as what old spreadsheets write."""
    assert isinstance(error, UnicodeDecodeError)
    return error.object[error.start : error.end].decode("cp1252", "replace"), error.end


_BYTES_AS_CP1252 = "vidrd-bytes-as-cp1252"
codecs.register_error(_BYTES_AS_CP1252, _as_cp1252)


def _check_columns(where: str, row: dict[str, str], needed: Sequence[str]) -> None:
    for column in needed:
        if column not in row:
            found = ", ".join(row) or "none"
            raise RequestError(f"{where}: has no column {column!r} (found: {found[:300]})")


def _webvid_place(row: dict[str, str]) -> tuple[str, tuple[str, ...]]:
    """WebVid's videos lie under `page_dir/videoid.mp4` where its usual downloaders put them."""
    video_id, page = row["videoid"].strip(), row.get("page_dir", "").strip()
    if not video_id:
        return "", ()
    name = f"{page}/{video_id}.mp4" if page else f"{video_id}.mp4"
    return clean_path(name), (name, f"videos/{name}", f"{video_id}.mp4")
