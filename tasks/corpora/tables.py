"""Rows of CSV and TSV files as spreadsheets, pandas and people write them.

Python's `csv` knows one dialect at a time, and takes a lone quote at the beginning of a caption for the beginning of a
cell that swallows the rows below. Here each cell is quoted where its quotes close, and words where they do not.
"""

from __future__ import annotations

import io
import posixpath
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from tasks.corpora.column_names import CAPTION_COLUMNS, FILE_COLUMNS
from tasks.corpora.encodings import encoding_of
from tasks.corpora.tree import IMAGE_SUFFIXES, VIDEO_SUFFIXES, Tree, reason_of
from tasks.errors import ItemError, RequestError

MAX_LINE_BYTES = 64 * 2**20
MAX_TAB_CELL = 64 * 2**10
"""How far the end of a quoted cell is looked for where cells need no quotes: captions begin with quotes too."""
_ZIP = b"PK\x03\x04"
_CHUNK_BYTES = 2**20
_TAB_SUFFIXES = (".tsv", ".tab")
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*$', re.IGNORECASE)  # Excel's, above the header
_QUOTED = re.compile(r'"((?:[^"]|"")*+)("?)')
_ESCAPED_QUOTED = re.compile(r'"((?:[^"\\]|\\.|"")*+)("?)', re.DOTALL)
_UNESCAPED = re.compile(r'\\(["\\,;\t\n]|\r\n?)')


@dataclass(frozen=True)
class Row:
    """A row by the names of its columns, those that it has, the number of its first line, and what is wrong with it."""

    line: int
    header: Sequence[str]
    values: Mapping[str, object]
    problem: str | None = None


class _Unclosed(Exception):
    """A quoted cell goes on behind what has been read."""


class _NotQuoted(Exception):
    """A cell that begins with a quote does not end with one."""


def table_rows(tree: Tree, name: str, stated_encoding: str | None) -> Iterator[Row]:
    """Yields the rows below the header; RequestError, with the line, for a table that cannot be read."""
    where = f"{tree.root}/{name}"
    try:
        with tree.open(name) as file:
            yield from _rows(file, name, stated_encoding)
    except (OSError, ItemError) as error:
        raise RequestError(f"{where}: cannot be read: {reason_of(error)}") from None
    except ValueError as error:
        raise RequestError(f"{where}: {error}") from None


def decoded_lines(file: BinaryIO, stated_encoding: str | None) -> Iterator[str]:
    """Gives the lines of a file of words with their ends, none of them huge; ValueError for what cannot be read."""

    def chunks() -> Iterator[bytes]:
        file.seek(0)
        return iter(lambda: file.read(_CHUNK_BYTES), b"")

    encoding = encoding_of(chunks, stated_encoding)
    file.seek(0)
    text = io.TextIOWrapper(file, encoding.codec, encoding.errors, newline="")
    number = 0
    try:
        while line := text.readline(MAX_LINE_BYTES):
            number += 1
            if len(line) == MAX_LINE_BYTES:
                raise ValueError(f"line {number}: is longer than {MAX_LINE_BYTES // 2**20} MB")
            if number == 1 and "\0" in line:
                raise ValueError(
                    "line 1: holds NUL characters, as UTF-16 without its mark does; name the corpus's `encoding`"
                )
            yield line.removeprefix("\ufeff").replace("\0", "") if number == 1 else line.replace("\0", "")
    except UnicodeDecodeError:
        raise ValueError(f"line {number + 1}: is not written in {encoding.codec}") from None


def _rows(file: BinaryIO, name: str, stated_encoding: str | None) -> Iterator[Row]:
    if file.read(len(_ZIP)) == _ZIP:
        raise ValueError("is a workbook (.xlsx, .ods) or another archive; save the table in it as CSV")
    tabs = posixpath.splitext(name)[1].lower() in _TAB_SUFFIXES
    lines = _Lines(decoded_lines(file, stated_encoding))
    header: list[str] = []
    parser = _Parser("\t" if tabs else ",")
    while (first := lines.take()) is not None:
        line = lines.number
        if not first.strip():
            continue
        if not header:
            if stated := _SEPARATOR_LINE.match(first):
                parser = _Parser(stated[1])
                continue
            parser = _Parser(_delimiter(first, parser.delimiter))
            header = [column.strip() for column in parser.record(first, lines, None)]
            _refuse_row(header)
            continue
        cells = parser.record(first, lines, len(header))
        if any(cells):
            yield _row(header, cells, line, name)


def _refuse_row(header: list[str]) -> None:
    """Raises ValueError where what should name the columns names a file: its row would be lost, and all be misread."""
    suffixes = {posixpath.splitext(name)[1].lower() for name in header}
    is_named = {name.lower() for name in header}.intersection((*FILE_COLUMNS, *CAPTION_COLUMNS))
    if not is_named and not suffixes.isdisjoint((*IMAGE_SUFFIXES, *VIDEO_SUFFIXES)):
        row = ", ".join(header)[:200]
        raise ValueError(
            f"its first line is a row ({row}); write the names of the columns above it, as in path,text"
        )


def _row(header: list[str], cells: list[str], line: int, name: str) -> Row:
    problem = None
    if any(cells[len(header) :]) or len(cells) < len(header):
        problem = (
            f"{posixpath.basename(name)}: line {line}: has {len(cells)} fields, its header {len(header)}"
        )
    return Row(line, header, dict(zip(header, cells, strict=False)), problem)


def _delimiter(header: str, usual: str) -> str:
    """Tells what separates the names of columns; spreadsheets write semicolons where a comma stands in numbers.

    Lines stand between those of Flickr30k.
    """
    return usual if usual in header else max(",;\t|", key=header.count)


class _Lines:
    """Lines that can be looked at before they are taken."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self._ahead: deque[str] = deque()
        self.number = 0

    def take(self) -> str | None:
        line = self._ahead.popleft() if self._ahead else next(self._lines, None)
        self.number += line is not None
        return line

    def peek(self, index: int) -> str | None:
        while len(self._ahead) <= index:
            line = next(self._lines, None)
            if line is None:
                return None
            self._ahead.append(line)
        return self._ahead[index]


class _Parser:
    """Splits lines at a delimiter; a record takes further lines where a quoted cell goes on."""

    def __init__(self, delimiter: str) -> None:
        self.delimiter = delimiter
        # Where tabs separate, words need no quotes, and those they begin with are theirs.
        self._tabs = delimiter == "\t"
        self._most_ahead = MAX_TAB_CELL if self._tabs else MAX_LINE_BYTES
        mark = re.escape(delimiter)
        self._plain = re.compile(rf"[^{mark}\r\n]*+")
        self._escaped_plain = re.compile(rf"(?:[^\\{mark}\r\n]|\\.)*+", re.DOTALL)

    def record(self, first: str, lines: _Lines, fields: int | None) -> list[str]:
        """Gives the cells of the record that begins with a line; ValueError for a quote that is never closed."""
        if '"' not in first and "\\" not in first:
            return first.rstrip("\r\n").split(self.delimiter)
        # As RFC 4180 has it, else with backslashes before quotes and delimiters, as Spark, MySQL and pandas can.
        readings = [self._reading(first, lines, escapes) for escapes in (False, True)]
        whole = [reading for reading in readings if reading is not None]
        fitting = next((reading for reading in whole if _fits(reading[0], fields)), None)
        cells, further = fitting or (whole[0] if whole else (self._unquoted(first), 0))
        if not whole and not self._tabs and self._stays_open(first):
            raise ValueError(f"line {lines.number}: a quote is opened and never closed")
        if further and self._tabs and self._are_rows(first, lines, further, fields):
            return self._unquoted(first)
        for _ in range(further):
            lines.take()
        return cells

    def _reading(self, first: str, lines: _Lines, escapes: bool) -> tuple[list[str], int] | None:
        """Gives the cells and how many further lines they take; None where quotes do not close as they should."""
        ends, text, whole_file = [len(first)], first, False
        while True:
            try:
                cells, end = self._cells(text, escapes)
                return cells, ends.index(end)
            except _NotQuoted:
                return None
            except _Unclosed:
                if whole_file:
                    return None
            # Twice as many lines each time, so that a long cell is not read again for each of its lines.
            parts = [text]
            for _ in range(len(ends)):
                line = lines.peek(len(ends) - 1)
                whole_file = line is None or ends[-1] + len(line) > self._most_ahead
                if line is None or whole_file:
                    break
                parts.append(line)
                ends.append(ends[-1] + len(line))
            text = "".join(parts)

    def _cells(self, text: str, escapes: bool) -> tuple[list[str], int]:
        """Gives the cells of a record and where it ends."""
        cells, place = [], 0
        while True:
            cell, place = self._cell(text, place, escapes)
            cells.append(cell)
            if text.startswith(self.delimiter, place):
                place += 1
            else:
                return cells, place + (2 if text.startswith("\r\n", place) else place < len(text))

    def _cell(self, text: str, place: int, escapes: bool) -> tuple[str, int]:
        if text.startswith('"', place):
            quoted = (_ESCAPED_QUOTED if escapes else _QUOTED).match(text, place)
            if quoted is None or not quoted[2]:
                raise _Unclosed
            if text[quoted.end() : quoted.end() + 1] not in (self.delimiter, "\r", "\n", ""):
                raise _NotQuoted
            words = quoted[1].replace('""', '"')
            return _UNESCAPED.sub(r"\1", words) if escapes else words, quoted.end()
        plain = (self._escaped_plain if escapes else self._plain).match(text, place)
        assert plain is not None
        # Nobody writes a backslash before a quote but to escape it.
        words = _UNESCAPED.sub(r"\1", plain[0]) if escapes else plain[0].replace('\\"', '"')
        return words, plain.end()

    def _unquoted(self, line: str) -> list[str]:
        """Splits one line at each delimiter that stands in no quoted cell; quotes that do not close are words."""
        cells, place = [], 0
        while True:
            try:
                cell, place = self._cell(line, place, escapes=False)
            except (_NotQuoted, _Unclosed):
                plain = self._plain.match(line, place)
                assert plain is not None
                cell, place = plain[0], plain.end()
            cells.append(cell)
            if not line.startswith(self.delimiter, place):
                return cells
            place += 1

    def _stays_open(self, line: str) -> bool:
        try:
            self._cells(line, escapes=False)
        except _Unclosed:
            return True
        except _NotQuoted:
            pass
        return False

    def _are_rows(self, first: str, lines: _Lines, further: int, fields: int | None) -> bool:
        """Tells whether each line that a quoted cell takes in is a row by itself: then the quotes were words."""
        ahead = [lines.peek(index) or "" for index in range(further)]
        return all(_fits(self._unquoted(line), fields) for line in [first, *ahead])


def _fits(cells: list[str], fields: int | None) -> bool:
    return fields is not None and len(cells) >= fields and not any(cells[fields:])
