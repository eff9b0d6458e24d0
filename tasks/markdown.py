"""Writes Markdown in which words of others stay words: no caption, name or prompt makes a link or an image."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from storage.local.visible import visible

# What makes emphasis, code, HTML, cells, strikethrough, entities, formulas, links, images, notes and addresses.
_ACTIVE = re.compile(
    r"[\\`*<>|~&$@]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|\](?=[(\[:])|\[(?=\^)|(?<=:)/(?=/)|(?<=[wW]{3})\."
)
_BLOCK = re.compile(r"^(?:[#+=\[-]|\d{1,9}(?=[.)](?:\s|$)))")  # headings, rules, lists, definitions
_TICKS = re.compile("`+")


class Code(str):
    """Marks a cell that is shown as code."""


def text(words: object) -> str:
    """Writes words inside a paragraph or list item, on one line."""
    # A number ends a list's mark behind it, everything else is a mark itself.
    return _BLOCK.sub(
        lambda found: f"{found[0]}\\" if found[0].isdigit() else f"\\{found[0]}", _inline(words)
    )


def code(words: object) -> str:
    """Writes words as a code span on one line, whatever backticks they hold."""
    line = " ".join(visible(words, keep="\t\n\r").split())
    if not line:
        return ""
    ticks = "`" * (1 + max((len(run) for run in _TICKS.findall(line)), default=0))
    padding = " " if "`" in (line[0], line[-1]) else ""
    return f"{ticks}{padding}{line}{padding}{ticks}"


def table(head: Sequence[object], rows: Iterable[Sequence[object]], numbers: bool = False) -> list[str]:
    """Writes the lines of a table; cells are words, `Code`, numbers or None.

    numbers: all columns but the first align right.
    """
    aligned = ["---", *["---:" if numbers else "---"] * (len(head) - 1)]
    return [row(head), f"|{'|'.join(aligned)}|", *map(row, rows)]


def row(cells: Sequence[object]) -> str:
    """Writes one row of a table."""
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _cell(value: object) -> str:
    if value is None:
        return ""
    # Within a cell a pipe has to be escaped, and code knows no escapes.
    return code(value) if isinstance(value, Code) and "|" not in value else _inline(value)


def _inline(words: object) -> str:
    line = " ".join(visible(words, keep="\t\n\r").split())
    return _ACTIVE.sub(lambda found: "\\" + found[0], line)
