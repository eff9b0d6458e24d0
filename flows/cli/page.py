"""A result as a page of the terminal: values beside their names, rows as tables; without colours where it is piped.

Imported once there is a result: rich takes a twentieth of a second.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from storage.local.visible import visible

_INDENT = 2
_FOR_MACHINES = frozenset(
    {"filter", "git_commit", "profile_content", "profile_set", "profile_source", "run_id", "settled_for"}
)
"""What a result holds for later commands and for who asks exactly; `--json` has it."""
_PIPED_WIDTH = 10_000
"""Characters: no line of a pipe is folded, since programs read it too."""


def print_page(result: Any, stream: TextIO) -> None:
    """Prints a result of plain values; words of others in it move no cursor and colour nothing."""
    if isinstance(result, Mapping):
        result = {name: value for name, value in result.items() if name not in _FOR_MACHINES and _says(value)}
    plain: dict[str, Any] = {"markup": False, "highlight": False, "emoji": False}
    if stream.isatty():
        _print(Console(file=stream, **plain), result, 0)
    else:
        page = io.StringIO()
        _print(Console(file=page, width=_PIPED_WIDTH, color_system=None, **plain), result, 0)
        stream.write("\n".join(line.rstrip() for line in page.getvalue().strip("\n").split("\n")) + "\n")
    stream.flush()


def _says(value: Any) -> bool:
    return value is not None and not (isinstance(value, Mapping | list | tuple) and not value)


def _print(console: Console, value: Any, indent: int) -> None:
    if isinstance(value, Mapping):
        _print_mapping(console, value, indent)
    elif _is_rows(value):
        _put(console, _table(value), indent)
    elif _is_list(value):
        for item in value:
            _put(console, _text(item), indent)
    else:
        _put(console, _text(value), indent)


def _print_mapping(console: Console, values: Mapping[str, Any], indent: int) -> None:
    """First what is one word or number, then what has parts, each under its name."""
    plain = {name: value for name, value in values.items() if _is_plain(value)}
    if plain:
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(overflow="fold")
        for name, value in plain.items():
            grid.add_row(_name(name), _text(value))
        _put(console, grid, indent)
    for name, value in values.items():
        if name in plain:
            continue
        console.print()
        _put(console, Text(_name(name), style="bold"), indent)
        rows = _as_rows(value)
        _print(console, value if rows is None else rows, indent + _INDENT)


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return not value
    return not _is_list(value) or ((len(value) <= 1 or len(_words(value)) <= 60) and not _is_rows(value))


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _is_rows(value: Any) -> bool:
    return _is_list(value) and len(value) > 0 and all(isinstance(row, Mapping) for row in value)


def _as_rows(value: Any) -> list[dict[str, Any]] | None:
    """Things of one kind by their names, as rows; None for what is no table."""
    if not isinstance(value, Mapping) or len(value) < 2:
        return None
    rows = list(value.values())
    if not all(isinstance(row, Mapping) and row and row.keys() == rows[0].keys() for row in rows):
        return None
    if not all(_is_plain(cell) for row in rows for cell in row.values()):
        return None
    return [{"": name, **row} for name, row in value.items()]


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="dim")
    for column in columns:
        is_number = all(isinstance(row.get(column), int | float | None) for row in rows)
        table.add_column(_name(column), justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_text(row.get(column, "")) for column in columns))
    return table


def _text(value: Any) -> Text:
    return Text(_words(value))


def _words(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{_name(name)} {_words(inner)}" for name, inner in value.items()) or "-"
    if _is_list(value):
        return ", ".join(map(_words, value)) or "-"
    return visible(value)


def _name(name: str) -> str:
    return visible(name).replace("_", " ")


def _put(console: Console, shown: Any, indent: int) -> None:
    console.print(Padding(shown, (0, 0, 0, indent), expand=False))
