"""No command line that is printed anywhere fails when it is typed: those of documents, helps, refusals and pages."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from flows.cli.app import app
from flows.profile import load_profile
from flows.settings.assignments import parse_assignment

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "infra").rglob("*.md")),
]
SOURCES = [path for name in ("flows", "tasks", "storage") for path in sorted((ROOT / name).rglob("*.py"))]
VIDRD: Any = typer.main.get_command(app)


def all_commands(found: Any, names: str = "") -> Iterator[tuple[str, Any]]:
    if not hasattr(found, "commands"):
        yield names.strip(), found
        return
    for name, inner in found.commands.items():
        yield from all_commands(inner, f"{names} {name}")


COMMANDS = dict(all_commands(VIDRD))


def parse(line: str) -> None:
    """Reads a whole line as the command line does, and the values that a help lists; nothing runs."""
    words = shlex.split(line, comments=True)
    while "=" in words[0]:  # variables of the environment
        del words[0]
    assert words.pop(0) == "vidrd", line
    command = VIDRD
    name = ""
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        name = words.pop(0)
        assert name in command.commands, f"{line}: no command {name!r}"
        command = command.commands[name]
    if name in ("refilter", "report"):  # about thresholds, whose names stand there alone
        words = [re.sub(r"^(\w+=)", r"filter.\1", word) for word in words]
    parsed = command.make_context(name, words)
    given = {key: value for key, value in parsed.params.items() if value not in (None, [], ())}
    for option in command.params:
        choices = (option.metavar or "").split("|")
        if (
            option.name in given
            and len(choices) > 1
            and all(re.fullmatch(r"[a-z0-9+-]+", c) for c in choices)
        ):
            assert given[option.name] in choices, line
    load_profile("sd21", dict(map(parse_assignment, given.get("set", ()))))


def lines_of_documents() -> Iterator[tuple[str, str]]:
    """The lines of blocks, to be typed as they stand."""
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        blocks = re.findall(r"^```[a-z]*\n(.*?)^```", text, re.M | re.S)
        found = [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]
        for line in dict.fromkeys(found):
            # Alternatives (`verify | remove`) and lines that are cut short are told, not typed.
            if re.match(r"(\w+=\S+ )*vidrd ", line) and " | " not in line and "..." not in line:
                yield f"{path.name}: {line}", line


def examples() -> Iterator[tuple[str, str]]:
    for name, command in COMMANDS.items():
        for line in re.findall(r"Example: (vidrd .*)", command.help or ""):
            yield f"--help of {name}: {line}", line


@pytest.mark.parametrize(
    "line", [pytest.param(line, id=name) for name, line in [*lines_of_documents(), *examples()]]
)
def test_a_line_to_be_typed_is_understood(line: str) -> None:
    parse(line)


WORD = r"(?:\{[^{}]*\}|models:/\S+|[A-Z]{2,}\b)"
MENTION = re.compile(rf"\bvidrd ((?:[a-z][a-z-]* )?[a-z][a-z-]*)((?:(?: --[a-z-]+(?: {WORD})?)| {WORD})*)")


def texts(path: Path) -> Iterator[str]:
    """The texts of a file that somebody may come to see: all but docstrings; of an f-string the values as {}."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            inside.add(id(node.value))
        if isinstance(node, ast.JoinedStr):
            inside |= {id(part) for part in ast.walk(node) if part is not node}
            if id(node) not in inside:
                yield "".join(
                    str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values
                )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.value


@cache
def mentions() -> dict[str, tuple[str, str]]:
    """Where a command is named in a text, with the options that follow it: (command, options)."""
    firsts = {command.split(" ")[0] for command in COMMANDS}
    told = [(path, text) for path in SOURCES for text in texts(path)]
    told += [(path, span) for path in DOCUMENTS for span in _spans(path)]
    found = {}
    for path, text in told:
        for named, options in MENTION.findall(" ".join(text.split())):
            first = named.split(" ")[0]
            name, options = (named, options) if named in COMMANDS or named == first else (first, "")
            if first in firsts:
                found[f"{path.relative_to(ROOT)}: vidrd {name}{options}"] = (name, options)
    return found


def _spans(path: Path) -> list[str]:
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    return re.findall(r"`(vidrd [^`]+)`", text)


@pytest.mark.parametrize(("name", "options"), mentions().values(), ids=mentions().keys())
def test_a_command_that_a_message_names_is_there_with_its_options(name: str, options: str) -> None:
    if name not in COMMANDS:  # `vidrd dataset` alone names the group
        assert any(command.startswith(f"{name} ") for command in COMMANDS) and not options
        return
    known = {option for parameter in COMMANDS[name].params for option in parameter.opts}
    assert {*re.findall(r"--[a-z-]+", options)} <= known


def test_enough_is_looked_at() -> None:
    assert len([*lines_of_documents()]) > 20 and len([*examples()]) >= len(COMMANDS) and len(mentions()) > 50
