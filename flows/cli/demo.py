"""`vidrd demo`: the main job on the tiny profile."""

from __future__ import annotations

import typer


def demo() -> None:
    """The main job on the tiny profile, start to end.

    Small corpora of images and videos to a promoted model, generated videos and a report, under $VIDRD_HOME/demo.

    \b
    Example: vidrd demo
    """
    from flows.demo.job import main as run_demo

    raise typer.Exit(run_demo())
