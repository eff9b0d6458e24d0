"""Rows of JSON and JSON Lines tables: an object for each file, or one object with the files' paths as its keys."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator

from tasks.corpora.encodings import decoded
from tasks.corpora.tables import Row, decoded_lines
from tasks.corpora.tree import Tree, reason_of, uri_of
from tasks.errors import ItemError, RequestError

LINES_SUFFIXES = (".jsonl", ".ndjson")
WHOLE_SUFFIX = ".json"
MAX_WHOLE_BYTES = 64 * 2**20
"""A longer JSON table has to be JSON Lines, which are read a line at a time."""


def json_rows(tree: Tree, name: str, stated_encoding: str | None) -> Iterator[Row]:
    """Yields the objects of a table; a line that holds none is a row with that problem.

    RequestError when the file cannot be read or a whole JSON file is no table.
    """
    where = f"{tree.root}/{uri_of(name)}"
    try:
        with tree.open(name) as file:
            if name.lower().endswith(LINES_SUFFIXES):
                for number, line in enumerate(decoded_lines(file, stated_encoding), start=1):
                    if line.strip():
                        yield _row(_loaded(line), number, name)
                return
            content = file.read(MAX_WHOLE_BYTES + 1)
        if len(content) > MAX_WHOLE_BYTES:
            raise ValueError(f"is longer than {MAX_WHOLE_BYTES // 2**20} MB; write it as JSON Lines (.jsonl)")
        for number, item in enumerate(_items(_loaded(decoded(content, stated_encoding))), start=1):
            yield _row(item, number, name)
    except (OSError, ItemError) as error:
        raise RequestError(f"{where}: cannot be read: {reason_of(error)}") from None
    except ValueError as error:
        raise RequestError(f"{where}: {error}") from None


def _loaded(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _items(table: object) -> list[object]:
    if isinstance(table, list):
        return table
    if not isinstance(table, dict):
        raise ValueError("is not a table as JSON: a list of objects, or an object with a path for each key")
    # kohya's metadata have the fields of a file at its path, diffusion-pipe's captions.json its captions.
    return [
        {**(said if isinstance(said, dict) else {"caption": said}), "file_name": path}
        for path, said in table.items()
    ]


def _row(item: object, number: int, name: str) -> Row:
    if isinstance(item, dict):
        return Row(number, tuple(item), item)
    problem = f"{posixpath.basename(name)}: line {number}: is not an object as JSON"
    return Row(number, (), {}, problem)
