"""What a chart's SVG draws, and where: the points of every shape, by the class of the group it is in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from tasks.pages.svg import Chart

_NUMBER = r"-?\d+(?:\.\d+)?"
Point = tuple[float, float]


def shapes(chart: Chart, css: str) -> list[list[Point]]:
    """The points of each group that has this class."""
    root = ElementTree.fromstring(str(chart))
    groups = [node for node in root.iter("g") if css in node.get("class", "").split()]
    return [[point for path in group.iter("path") for point in _points(path)] for group in groups]


def hints(chart: Chart) -> list[str]:
    """The words that a browser shows over shapes."""
    return [node.text or "" for node in ElementTree.fromstring(str(chart)).iter("title")]


def words(chart: Chart) -> dict[str, Point]:
    """All that is written in the chart, and where."""
    texts = ElementTree.fromstring(str(chart)).iter("text")
    return {node.text or "": (float(node.attrib["x"]), float(node.attrib["y"])) for node in texts}


def assert_sound(chart: Chart) -> None:
    """All shapes lie inside the picture; nothing in it is an address, an identifier, or a colour of its own."""
    root = ElementTree.fromstring(str(chart))
    width, height = map(float, root.attrib["viewBox"].split()[2:])
    for node in root.iter():
        assert node.tag in ("svg", "g", "path", "text", "title"), node.tag
        assert set(node.attrib) <= _ATTRIBUTES[node.tag], node.attrib
        assert not re.search(
            r"#|url|nan|inf", "".join(node.get(name, "") for name in ("style", "d", "transform"))
        )
        if node.tag == "path":
            assert all(-1 <= x <= width + 1 and -1 <= y <= height + 1 for x, y in _points(node)), node.attrib


_ATTRIBUTES = {
    "svg": {"class", "viewBox", "role", "aria-label", "style"},
    "g": {"class"},
    "path": {"d", "style", "transform"},
    "text": {"x", "y", "style"},
    "title": set(),
}


def _points(path: Element) -> Iterator[Point]:
    numbers = [float(number) for number in re.findall(_NUMBER, path.attrib["d"])]
    dx, dy = map(float, re.findall(_NUMBER, path.get("transform", "translate(0 0)")))
    for x, y in zip(numbers[::2], numbers[1::2], strict=True):
        yield x + dx, y + dy
