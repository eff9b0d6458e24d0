"""Words of an attacker, and a look at every kind of output for what came of them."""

from html.parser import HTMLParser

from markdown_it import MarkdownIt

MARK = "attacker"
WORDS = (
    f"{MARK} ![x](http://127.0.0.1:9/{MARK}.png) [l](javascript:{MARK}) "
    f'<img src=x onerror="{MARK}()"> <script>{MARK}</script> | {MARK} | `{MARK}` ``` "><b {MARK}="1 \\| end'
)
ESCAPES = f"\x1b]0;{MARK}\x07\x1b[31m\x9b2J\u202e{MARK}\u202c\r"
"""What moves a cursor, names a window or turns the reading direction."""

_RENDERER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
_OF_A_PAGE = {"src": ("data:",), "href": ("#",)}
_VOID = {"meta", "img", "br", "line", "circle", "rect", "path", "col", "hr", "polyline", "polygon"}


class Page(HTMLParser):
    """What a page is made of: tags, attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self._inside: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in _VOID:
            self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._inside:
            del self._inside[len(self._inside) - 1 - self._inside[::-1].index(tag) :]

    def handle_data(self, data: str) -> None:
        if "style" not in self._inside:
            self.text += data


def check_page(html: str) -> Page:
    """A page of ours: no script, nothing from elsewhere, and the words are in its text, if at all."""
    page = Page(html)
    assert not {"script", "iframe", "object", "embed", "base", "form", "link", "b"} & set(page.tags)
    for name, value in page.attributes:
        assert not name.startswith("on") and name != MARK, name
        if name in _OF_A_PAGE:
            assert value.startswith(_OF_A_PAGE[name]), value[:80]
    assert ("http-equiv", "Content-Security-Policy") in page.attributes
    assert_printable(html)
    return page


def check_markdown(text: str) -> Page:
    """Markdown of ours: words, tables, lists, code and headings, and neither links nor images nor HTML."""
    page = Page(_RENDERER.render(text))
    plain = {
        "p",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "code",
        "strong",
        "ul",
        "li",
        "h1",
        "h2",
        "pre",
    }
    assert set(page.tags) <= plain, set(page.tags) - plain
    assert {name for name, _ in page.attributes} <= {"style", "class"}
    assert_printable(text)
    return page


def assert_printable(text: str) -> None:
    """No control characters but line ends and tabs, and nothing that turns the reading direction."""
    bad = {c for c in text if (ord(c) < 32 and c not in "\n\t") or 127 <= ord(c) < 160 or c in "\u202c\u202e"}
    assert not bad, bad
