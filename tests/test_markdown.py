"""Words of others stay words: in Markdown's cells and paragraphs, in code spans, on pages, in the terminal."""

import ast
import io
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import settings as checks
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from flows.terminal import FAINT, PLAIN, STRONG, tell, tell_styled
from storage.errors import StorageError
from storage.local.visible import visible
from tasks import markdown
from tasks.errors import ItemError, RequestError

RENDERER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
HOSTILE = [
    "![x](http://127.0.0.1:9/pixel.png)",
    "[click](javascript:alert(1))",
    '<img src=x onerror="alert(1)">',
    "<script>alert(1)</script>",
    "</td></tr></table><h1>",
    "a | b | c",
    "ends with a backslash \\",
    "\\| and \\\\| pipes",
    "`code` ``` more ``",
    "**bold** __too__ ~~gone~~ _x_",
    "&lt;b&gt; &#33; &nbsp;",
    "# heading",
    "1. one",
    "- item",
    "=== ---",
    "[ref]: http://127.0.0.1:9/",
    "<http://127.0.0.1:9/>",
    "$x^2$ and $$y$$",
    "line one\nline two\r\n| cell |\n\n# heading",
    "\x1b[31mred\x1b[0m \x9b2J \x07 \u202eevil\u202c \u2066x\u2069",
    "=HYPERLINK(\"http://127.0.0.1:9\")",
    "\ud800 half",
]  # fmt: skip

words = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(max_size=40),
    st.text(alphabet="\\`*_[]()<>|~&$@#+-=!1.:/ \n\tab", max_size=30),
)


class _Page(HTMLParser):
    """The tags of a page, their attributes, and the text of each cell or paragraph."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag in ("td", "th", "p"):
            self.texts.append("")

    def handle_data(self, data: str) -> None:
        if self.texts and data.strip():
            self.texts[-1] += data


def _as_read(text: str) -> str:
    return " ".join(visible(text, keep="\t\n\r").split())


@checks(deadline=None)
@given(st.lists(st.tuples(words, words), min_size=1, max_size=3), st.booleans())
@example([(text, text) for text in HOSTILE], False)
@example([(text, text) for text in HOSTILE], True)
def test_a_table_has_the_cells_that_it_was_given(rows: list[tuple[str, str]], as_code: bool) -> None:
    given_rows = [(first, markdown.Code(second) if as_code else second) for first, second in rows]
    html = RENDERER.render("\n".join(markdown.table(("a", "b"), given_rows)))
    page = _Page(html)
    assert set(page.tags) <= {"table", "thead", "tbody", "tr", "th", "td", "code"}
    assert {name for name, _ in page.attributes} <= {"style"}
    assert page.texts == ["a", "b", *(_as_read(cell) for row in rows for cell in row)]


@checks(deadline=None)
@given(words)
@example("![x](http://127.0.0.1:9/pixel.png)")
def test_a_paragraph_is_its_words(text: str) -> None:
    page = _Page(RENDERER.render(markdown.text(text)))
    assert set(page.tags) <= {"p"} and page.attributes == []
    assert "".join(page.texts) == _as_read(text)


@checks(deadline=None)
@given(words)
def test_a_code_span_is_its_words(text: str) -> None:
    page = _Page(RENDERER.render(f"Model {markdown.code(text)}, done"))
    assert set(page.tags) <= {"p", "code"}
    assert "".join(page.texts).split() == ["Model", *f"{_as_read(text)},".split(), "done"]


@checks(deadline=None)
@given(words)
def test_no_address_is_linked_by_itself(text: str) -> None:
    """Prefect's and GitHub's Markdown link bare addresses too, which they find by these marks."""
    escaped = markdown.text(text + " see http://127.0.0.1:9/x or www.example.org or me@example.org")
    assert "://" not in escaped and "www." not in escaped and "e@e" not in escaped


@checks(deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_what_is_shown_has_no_control_characters(text: str) -> None:
    shown = visible(text)
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in shown)
    assert not set(shown) & set(
        "\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c"
    )
    shown.encode()  # no half of a pair, which a terminal's encoding refuses
    assert visible(shown) == shown


@checks(deadline=None)
@given(
    st.recursive(
        st.text(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
    )
)
def test_json_for_machines_stays_what_it_was(value: object) -> None:
    text = visible(json.dumps(value, indent=2, ensure_ascii=False), keep="\n")
    assert json.loads(text) == json.loads(json.dumps(value))
    text.encode()


@pytest.mark.parametrize("text", HOSTILE)
def test_the_terminal_obeys_nothing(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    tell(f"error: {text}")
    tell(text, error=False)
    shown = "".join(capsys.readouterr())
    assert not any((ord(c) < 32 and c != "\n") or 127 <= ord(c) < 160 or c == "\u202e" for c in shown)


class _Terminal(io.StringIO):
    """A stream that says of itself that it is a terminal."""

    def isatty(self) -> bool:
        return True


MARKUP = ["[bold]x[/bold] [link=http://127.0.0.1:9/]y[/] :warning:", "[/]", "x" * 300]


@pytest.mark.parametrize("text", [*HOSTILE, *MARKUP])
def test_a_styled_line_is_its_words(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    for stream in (io.StringIO(), _Terminal()):
        monkeypatch.setattr(sys, "stderr", stream)
        tell_styled([("[stage] ", STRONG), (text, PLAIN), ("  left", FAINT)])
        shown = stream.getvalue()
        assert ("\x1b[1m[stage]" in shown) == stream.isatty()
        assert re.sub(r"\x1b\[\d+m", "", shown) == f"[stage] {visible(text)}  left\n"


def test_errors_are_one_printable_line() -> None:
    name = "a\x1b[2J\n\u202ename.png"
    for error in (RequestError(name), StorageError(name), ItemError(name, stage="read")):
        assert str(error) == r"a\u001b[2J\u000a\u202ename.png"


def test_commands_print_through_the_one_writer() -> None:
    """`flows.terminal` makes words visible; what else prints has none of others: paths, fixed lines, processes."""
    flows = Path(__file__).resolve().parents[1] / "flows"
    allowed = {"terminal.py", "up/supervisor.py", "up/guard.py", "up/stuck_runs.py"}
    printing = {
        path.relative_to(flows).as_posix()
        for path in flows.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("print", "typer.echo", "sys.stderr.write")
    }
    assert printing <= allowed, f"use tell of flows/terminal.py: {printing - allowed}"


def test_tables_have_one_writer() -> None:
    """What else wrote one would escape otherwise, or not at all."""
    project = Path(__file__).resolve().parents[1]
    writers = {
        path.relative_to(project).as_posix()
        for folder in ("flows", "tasks", "storage", "vidrd_model", "tests/bench", "tests/mutants")
        for path in (project / folder).rglob("*.py")
        if re.search(r'\|:?---|["\'] ?\| ?["\']\.join', path.read_text(encoding="utf-8"))
    }
    assert writers <= {"tasks/markdown.py"}
