"""Makes charts into SVG: matplotlib draws them, and what it wrote is made fit to stand inside a page.

A chart has no script, no identifier and no address in it. Its colours are those of `tasks.pages.theme`, and words of
others stay words: a dollar sign begins no formula, and what a browser would obey is made visible.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from matplotlib import style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from storage.local.visible import visible
from tasks.pages.theme import LIGHT

TEXT_PX = 11.5

_POINTS_PER_INCH = 72  # one unit of the SVG is a point
_SETTINGS = {
    "svg.fonttype": "none",  # text stays text, in the font of the page
    "svg.hashsalt": "vidrd",  # the same chart has the same bytes
    "text.parse_math": False,
    "font.size": TEXT_PX,
    "text.color": LIGHT["ink"],
    "axes.edgecolor": LIGHT["soft"],
    "axes.labelcolor": LIGHT["soft"],
    "xtick.labelcolor": LIGHT["soft"],
    "ytick.labelcolor": LIGHT["soft"],
    "grid.color": LIGHT["rule"],
    "grid.linewidth": 1.0,
    "lines.solid_capstyle": "round",
}
_NAMES = {colour: name for name, colour in LIGHT.items()}
_NO_XML = re.compile("[\ufffe\uffff]")
_SVG, _XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
_NUMBER = re.compile(r"-?\d+\.\d+")
_COLOUR = re.compile(r"#[0-9a-f]{6}")
_KEPT_OF_TEXT = ("font-size", "font-weight", "text-anchor", "fill")


@dataclass(frozen=True)
class Chart:
    """Holds a finished chart; in a template it is inline SVG, whose colours follow the page's light and dark."""

    root: Element

    def __html__(self) -> str:
        return ElementTree.tostring(_recoloured(self.root), encoding="unicode")

    __str__ = __html__

    def file_text(self) -> str:
        """Writes the chart as a file of its own, on a background and in the colours of the light theme."""
        width, height = self.root.attrib["viewBox"].split()[2:]
        root = Element("svg", {"xmlns": _SVG.strip("{}"), **self.root.attrib, "font-family": "sans-serif"})
        background = {"width": width, "height": height, "style": f"fill: {LIGHT['paper']}"}
        root.append(Element("rect", background))
        root.extend(self.root)
        return ElementTree.tostring(root, encoding="unicode")


class Drawing:
    """Holds a chart in the making, of one plot whose margins are given in pixels."""

    def __init__(self, width: int, height: int, label: str) -> None:
        self.width, self.height, self.label = width, height, label
        self._figure = Figure(figsize=(width / _POINTS_PER_INCH, height / _POINTS_PER_INCH))
        self._classes: dict[str, tuple[str, str]] = {}

    def axes(self, left: float, right: float, top: float, bottom: float) -> Axes:
        """Makes the plot, with a line below it and no other frame."""
        share = (
            left / self.width,
            bottom / self.height,
            (self.width - left - right) / self.width,
            (self.height - top - bottom) / self.height,
        )
        axes = self._figure.add_axes(share)
        axes.spines[["left", "right", "top"]].set_visible(False)
        axes.tick_params(length=0, pad=6)
        axes.set_axisbelow(True)
        return axes

    def note(self, artist: Artist, css: str, hint: str = "") -> None:
        """Gives something drawn a CSS class, and words that a browser shows over it."""
        gid = f"noted-{len(self._classes)}"
        artist.set_gid(gid)
        self._classes[gid] = (css, hint)

    def finish(self) -> Chart:
        """Renders the chart, inside the `drawing` that gave it."""
        for found in self._figure.findobj(Text):
            found.set_text(words(found.get_text()))
        written = io.StringIO()
        with warnings.catch_warnings():
            # Words may be of scripts that matplotlib's own font lacks; the browser has others.
            warnings.filterwarnings("ignore", message="Glyph")
            self._figure.savefig(written, format="svg", transparent=True, metadata=_NO_METADATA)
        root = Element(
            "svg",
            {
                "class": "chart",
                "viewBox": f"0 0 {self.width} {self.height}",
                "role": "img",
                "aria-label": words(self.label),
                # Wider than it was drawn for, its text would be larger than that of the page.
                "style": f"max-width: {1.15 * self.width:.0f}px",
            },
        )
        markers: dict[str, Element] = {}
        for child in ElementTree.fromstring(written.getvalue()):
            root.extend(self._plain(child, markers))
        return Chart(root)

    def _plain(self, node: Element, markers: dict[str, Element]) -> list[Element]:
        """Returns the parts of matplotlib's SVG that draw something; groups are kept where they have a class."""
        tag = node.tag.removeprefix(_SVG)
        if tag == "defs":
            markers |= {path.attrib["id"]: path for path in node.iter(f"{_SVG}path")}
            return []
        if tag == "g":
            inside = [part for child in node for part in self._plain(child, markers)]
            return self._group(inside, node.get("id", ""))
        if tag == "use":
            return [_placed(markers[node.attrib[f"{_XLINK}href"][1:]], node)]
        if tag == "path":
            style_of = node.get("style", "")
            return [] if style_of == "fill: none" else [_path(node.attrib["d"], style_of)]
        return [_text(node)] if tag == "text" else []

    def _group(self, inside: list[Element], gid: str) -> list[Element]:
        if gid not in self._classes:
            return inside
        css, hint = self._classes[gid]
        group = Element("g", {"class": css})
        if hint:
            title = Element("title")
            title.text = words(hint)
            group.append(title)
        group.extend(inside)
        return [group]


_NO_METADATA: Mapping[str, None] = dict.fromkeys(("Creator", "Date", "Format", "Type"))


@contextmanager
def drawing(width: int, height: int, label: str) -> Iterator[Drawing]:
    """Gives a chart to draw on; `label` is for those who cannot see it. A user's matplotlibrc changes nothing."""
    with style.context(["default", _SETTINGS]):
        yield Drawing(width, height, label)


def words(text: str) -> str:
    """Makes words of others fit to stand in XML."""
    return _NO_XML.sub("\ufffd", visible(text))


def _placed(marker: Element, use: Element) -> Element:
    """Draws a marker where it is used, so that nothing refers to an identifier."""
    styles = [styled.strip("; ") for styled in (use.get("style", ""), marker.get("style", "")) if styled]
    path = _path(marker.attrib["d"], "; ".join(styles))
    path.set("transform", f"translate({_rounded(use.attrib['x'])} {_rounded(use.attrib['y'])})")
    return path


def _path(d: str, styled: str) -> Element:
    return Element("path", {"d": _rounded(" ".join(d.split())), "style": styled})


def _text(node: Element) -> Element:
    """Keeps what is written, its size and where it stands; matplotlib's font and its turn by no degrees go."""
    styles = dict(part.split(": ", 1) for part in node.get("style", "").split("; ") if ": " in part)
    kept = "; ".join(f"{name}: {styles[name]}" for name in _KEPT_OF_TEXT if name in styles)
    text = Element("text", {"x": _rounded(node.attrib["x"]), "y": _rounded(node.attrib["y"]), "style": kept})
    text.text = node.text
    return text


def _rounded(numbers: str) -> str:
    return _NUMBER.sub(lambda found: f"{float(found[0]):.1f}", numbers)


def _recoloured(node: Element) -> Element:
    """Returns a copy whose colours are the variables of the page."""
    copy = Element(node.tag, node.attrib)
    copy.text = node.text
    if "style" in copy.attrib:
        copy.set("style", _COLOUR.sub(lambda found: f"var(--{_NAMES[found[0]]})", node.attrib["style"]))
    copy.extend(map(_recoloured, node))
    return copy
