"""What a page holds, as a browser would find it: tables with their rows, headings, and what it would load."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

_VOID = {"meta", "br", "img", "link", "hr"}


class Page(HTMLParser):
    """The tables of a page, each as the heading above it and rows of cell texts; tags must nest."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tables: list[tuple[str, list[list[str]]]] = []
        self.headings: list[str] = []
        self.addresses: list[str] = []
        self.classes: list[str] = []
        self.svgs = 0
        self._open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        assert not self._open, f"left open: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]
        self.classes += [name for key, value in attrs if key == "class" for name in (value or "").split()]
        if tag == "table":
            self.tables.append((self.headings[-1], []))
        elif tag == "tr":
            self.tables[-1][1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][1][-1].append("")
        elif tag in ("h2", "h3"):
            self.headings.append("")
        self.svgs += tag == "svg"
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.classes += [name for key, value in attrs if key == "class" for name in (value or "").split()]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        words = " ".join(data.split())
        if not words:
            return
        if "td" in self._open or "th" in self._open:
            cell = self.tables[-1][1][-1]
            cell[-1] = f"{cell[-1]} {words}".strip()
        elif "h2" in self._open or "h3" in self._open:
            self.headings[-1] = f"{self.headings[-1]} {words}".strip()

    def table(self, heading: str) -> list[list[str]]:
        """The rows below the header of the one table whose heading begins so."""
        (found,) = [rows for above, rows in self.tables if above.startswith(heading)]
        return found[1:]
