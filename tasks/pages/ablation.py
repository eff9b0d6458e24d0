"""Writes the page of all experiments of one model: a table and the charts of each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tasks.experiments.results import Result, printed
from tasks.pages.experiment_charts import draw_charts
from tasks.pages.metric_names import title
from tasks.pages.page import write_page


def write_ablation(results: Sequence[Result], model: str, path: Path) -> Path:
    """Writes the page; the file appears whole or not at all, RequestError when it cannot be written."""
    shown = [(result, draw_charts(result)) for result in results]
    return write_page("ablation.html", path, results=shown, model=model, printed=printed, title=title)
