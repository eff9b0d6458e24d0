"""Prints a Markdown table row by row, as its rows are measured."""

from __future__ import annotations

from tasks import markdown


def print_head(*columns: str) -> None:
    """Prints the head of a table whose columns but the first are numbers."""
    for line in markdown.table(columns, (), numbers=True):
        print(line, flush=True)


def print_row(*cells: object) -> None:
    """Prints a row of the table whose head was printed last."""
    print(markdown.row(cells), flush=True)
