"""How commands answer: a page for people, plain in pipes; one shape of JSON; quiet; the version; completion."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.cli.app import app
from flows.cli.page import print_page
from tests.forked_commands import run_forked

ROOT = Path(__file__).resolve().parents[1]


def vidrd(*arguments: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flows.cli", *arguments],
        env=os.environ | {"VIDRD_HOME": str(home)} | environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


def page(result: Any) -> str:
    stream = io.StringIO()
    print_page(result, stream)
    return stream.getvalue()


plain = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text())
results = st.dictionaries(
    st.text(),
    st.recursive(
        plain,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(st.text(), inner, max_size=3),
            st.lists(st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_size=3),
        ),
        max_leaves=20,
    ),
    max_size=5,
)


@settings(deadline=None)
@given(results)
def test_any_result_is_a_page_that_moves_no_cursor(result: dict[str, Any]) -> None:
    shown = page(result)
    assert shown.endswith("\n") and not any(line != line.rstrip() for line in shown.split("\n"))
    assert all(character.isprintable() or character in "\n" or ord(character) >= 0xA0 for character in shown)


def test_a_page_shows_rows_as_tables_and_loses_no_word() -> None:
    path = "/" + "very/" * 60 + "long.mp4"
    shown = page(
        {
            "model": "models:/vidrd@champion",
            "promoted": True,
            "seconds": 1.23456789,
            "nothing": None,
            "videos": [{"prompt": "[red] a", "frames": 24, "file": path}, {"prompt": "b", "frames": 8}],
            "sampling": {"beta": {"value": 1.0, "from": "option"}, "seam": {"value": None, "from": "model"}},
        }
    )
    lines = shown.splitlines()
    assert lines[:3] == ["model     models:/vidrd@champion", "promoted  yes", "seconds   1.23457"]
    assert "nothing" not in shown
    assert ["seam", "-", "model"] in [line.split() for line in lines], (
        "a cell of a table says that there is none"
    )
    row = next(line for line in lines if "[red] a" in line)
    assert row.split() == ["[red]", "a", "24", path]
    assert [line.split() for line in lines if "option" in line] == [["beta", "1", "option"]]
    assert "\x1b" not in shown


def test_a_terminal_has_colours() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream, before = Terminal(), os.environ.get("TERM")
    os.environ["TERM"] = "xterm-256color"
    try:
        print_page({"a": 1, "b": {"c": 2}}, stream)
    finally:
        os.environ.pop("TERM") if before is None else os.environ.update(TERM=before)
    assert "\x1b[" in stream.getvalue()


def commands(found: Any, names: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not hasattr(found, "commands"):
        return [names]
    return [line for name, inner in found.commands.items() for line in commands(inner, (*names, name))]


def test_a_refusal_has_the_shape_of_every_answer(tmp_path: Path) -> None:
    names = commands(typer.main.get_command(app))
    asked = [[*name, "--json", "--no-such-option"] for name in names]
    assert len(names) > 20
    for name, ended in zip(names, run_forked(asked, tmp_path / "home", tmp_path), strict=True):
        answer = json.loads(ended.stdout)
        assert ended.code == 2 and not answer["ok"] and answer.keys() == {"command", "ok", "error"}, name
        assert ended.stderr == f"error: {answer['error']}\n" and "--no-such-option" in ended.stderr, name


def test_json_is_one_object_and_quiet_says_nothing_else(tmp_path: Path) -> None:
    done = vidrd("weights", "list", "--json", "--set", "temporal.lr=1", home=tmp_path)
    answer = json.loads(done.stdout)
    assert answer.keys() == {"command", "ok", "result"}
    assert answer["command"] == "weights list" and answer["ok"] and answer["result"]["weights"]
    assert done.stderr.startswith("note: ")
    quiet = vidrd("weights", "list", "--quiet", "--set", "temporal.lr=1", home=tmp_path)
    assert quiet.stderr == "" and quiet.stdout.startswith("weights\n") and "\x1b" not in quiet.stdout
    wrong = vidrd("weights", "list", "--quiet", "--set", "temporal.lr=0", home=tmp_path)
    assert wrong.returncode == 2 and wrong.stderr.startswith("error: set: temporal.lr")


def test_the_version_is_that_of_the_package(tmp_path: Path) -> None:
    from importlib.metadata import version

    done = vidrd("--version", home=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"vidrd {version('vidrd')}\n")
    assert vidrd("-h", home=tmp_path).stdout == vidrd(home=tmp_path).stdout, "help, without a command too"


# How each shell asks: the words before the cursor, the last of them unfinished.
ASKS = {
    "bash": lambda words: {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)},
    "zsh": lambda words: {"_TYPER_COMPLETE_ARGS": " ".join(words)},
    "fish": lambda words: {
        "_TYPER_COMPLETE_ARGS": " ".join(words),
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    },
}


def offered(shell: str, words: list[str], home: Path) -> str:
    program = "import sys; sys.argv[0] = 'vidrd'; from flows.cli.app import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ
        | {"VIDRD_HOME": str(home), "_VIDRD_COMPLETE": f"complete_{shell}"}
        | ASKS[shell](words),
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout


@pytest.mark.parametrize("shell", ASKS)
def test_every_shell_is_offered_commands_options_and_values(shell: str, tmp_path: Path) -> None:
    assert "generate" in offered(shell, ["vidrd", "gen"], tmp_path)
    if shell == "bash":  # what is offered is the same for all
        assert "--scheduler" in offered(shell, ["vidrd", "generate", "--sch"], tmp_path)
        assert "crossfade" in offered(shell, ["vidrd", "generate", "--seam", "cr"], tmp_path)
    assert "sd21" in offered(shell, ["vidrd", "retrain", "--profile", "s"], tmp_path)
    assert "temporal.lr=" in offered(shell, ["vidrd", "retrain", "--set", "temporal.l"], tmp_path)


@pytest.mark.parametrize("shell", ASKS)
def test_every_shell_has_a_script(shell: str, tmp_path: Path) -> None:
    arguments = ["vidrd", "--show-completion", shell]
    program = f"import sys; sys.argv = {arguments}; from flows.cli.app import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program],
        # Else it is that of the shell above this process.
        env=os.environ | {"VIDRD_HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "_VIDRD_COMPLETE" in done.stdout and f"complete_{shell}" in done.stdout
    if shutil.which(shell):
        checked = subprocess.run([shell, "-n"], input=done.stdout, text=True, capture_output=True)
        assert checked.returncode == 0, checked.stderr
