"""`vidrd demo`: the main job on the tiny profile."""

from __future__ import annotations

import typer

from flows.cli.answer import answer
from flows.cli.common import given
from storage.local.home import home
from storage.local.json_files import read_json


def demo() -> None:
    """The main job on the tiny profile, start to end.

    Small corpora of images and videos to a promoted model, generated videos and a report, under $VIDRD_HOME/demo.

    \b
    Example: vidrd demo
    """
    from flows.demo.job import main as run_demo

    if given().dry_run:
        told = ("report.html", "samples", "demo.json")
        answer({"dry_run": True, "would_write": [str(home() / "demo" / name) for name in told]})
        return
    code = run_demo(("vidrd", "demo"))
    if given().as_json and code == 0:
        answer(read_json(home() / "demo.json"))
    raise typer.Exit(code)
