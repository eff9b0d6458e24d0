"""Lists in the cells of tables: several captions, spans of time, as JSON and as Python prints them."""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence

MAX_LIST_CHARACTERS = 2**20
"""A longer cell is words: nobody has so many captions for one video, and reading lists costs much memory."""


def captions_in(value: object) -> list[object]:
    """Gives the captions of a cell: those of a list of texts, else the cell itself; ValueError for what is no text."""
    items = _list_in(value)
    if isinstance(value, dict) or (isinstance(value, (list, tuple)) and not _are_texts(value)):
        raise ValueError("the caption is no text")
    return items if items is not None and _are_texts(items) else [value]


def _are_texts(items: Sequence[object]) -> bool:
    return all(item is None or isinstance(item, str) for item in items)


def spans_in(value: object) -> list[tuple[object, object]] | None:
    """Gives the [begin, end] of each caption; None where the cell holds no such list."""
    items = _list_in(value)
    if not items:
        return None
    pairs = [_list_in(item) for item in items]
    if all(pair is not None and len(pair) == 2 for pair in pairs):
        return [(pair[0], pair[1]) for pair in pairs if pair is not None]
    return [(items[0], items[1])] if len(items) == 2 and None in pairs else None


def spread(value: object, count: int) -> Sequence[object]:
    """Gives a value for each of so many captions: the items of a list, else the one value for all of them."""
    items = _list_in(value)
    if items is None:
        return [value] * count
    if len(items) != count:
        raise ValueError(f"{len(items)} times for {count} captions")
    return items


def _list_in(value: object) -> list[object] | None:
    if isinstance(value, (list, tuple)):
        return list(value)
    if not isinstance(value, str) or len(value) > MAX_LIST_CHARACTERS:
        return None
    text = value.strip()
    if not (text.startswith("[") and text.endswith("]")):
        return None
    for read in (json.loads, ast.literal_eval):
        try:
            items = read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        return items if isinstance(items, list) else None
    return None
