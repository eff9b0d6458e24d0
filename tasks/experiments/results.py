"""What an experiment found: a row for each variant, written as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from storage.local.json_files import read_json, write_json
from tasks import markdown
from vidrd_model.metrics.intervals import Estimate


@dataclass(frozen=True)
class Row:
    """One variant: its length in clips, the number of videos, its figures, and remarks on it."""

    label: str
    num_clips: int
    n: int
    figures: dict[str, Estimate | float] = field(default_factory=dict)
    remark: str = ""


@dataclass(frozen=True)
class Result:
    """The rows of an experiment, what the real clips give, and what is to be said about the numbers."""

    name: str
    question: str
    rows: Sequence[Row]
    real: Row | None = None
    notes: Sequence[str] = ()

    @property
    def columns(self) -> list[str]:
        """The names of all figures, in the order in which rows first have them."""
        return list(dict.fromkeys(name for row in self.rows for name in row.figures))


def value_of(figure: Estimate | float) -> float:
    """The number itself."""
    return figure.value if isinstance(figure, Estimate) else figure


def write_result(result: Result, folder: Path) -> list[Path]:
    """Writes `NAME.md`, `NAME.csv` and `NAME.json` into a folder that exists."""
    paths = [folder / f"{result.name}.{ending}" for ending in ("md", "csv", "json")]
    paths[0].write_text(as_markdown(result), encoding="utf-8")
    paths[1].write_text(_as_csv(result), encoding="utf-8", newline="")
    write_json(paths[2], _as_json(result))
    return paths


def read_results(folder: Path, names: Sequence[str]) -> list[Result]:
    """The results of these experiments that the folder has, in this order."""
    kept = [read_json(folder / f"{name}.json") for name in names]
    return [_from_json(found) for found in kept if found is not None]


def as_markdown(result: Result) -> str:
    """A table in which each figure has its 95% interval beside it."""
    columns = result.columns
    rows: list[tuple[object, ...]] = []
    for row in [*result.rows, *([result.real] if result.real else [])]:
        cells = [printed(row.figures.get(name)) for name in columns]
        rows.append((row.label, row.num_clips, row.n, *cells, row.remark))
    table = markdown.table(("variant", "clips", "n", *columns, ""), rows, numbers=True)
    notes = (f"- {markdown.text(note)}" for note in result.notes)
    title = [f"## {markdown.text(result.name)}", "", markdown.text(result.question), ""]
    return "\n".join([*title, *table, "", *notes]) + "\n"


def printed(figure: Estimate | float | None) -> str:
    """The value and, where there is one, its interval; nothing where there is no figure."""
    if figure is None:
        return ""
    if isinstance(figure, Estimate):
        return f"{figure.value:.4g} [{figure.low:.3g}, {figure.high:.3g}]"
    return f"{figure:.4g}"


def _as_csv(result: Result) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(
        [
            "variant",
            "clips",
            "n",
            *(f"{name}{end}" for name in result.columns for end in ("", "_low", "_high")),
        ]
    )
    for row in result.rows:
        cells: list[Any] = [row.label, row.num_clips, row.n]
        for name in result.columns:
            figure = row.figures.get(name)
            ends = (figure.low, figure.high) if isinstance(figure, Estimate) else ("", "")
            cells += ["" if figure is None else value_of(figure), *ends]
        writer.writerow(cells)
    return out.getvalue()


def _as_json(result: Result) -> dict[str, Any]:
    return {
        "name": result.name,
        "question": result.question,
        "rows": [asdict(row) for row in result.rows],
        "real": None if result.real is None else asdict(result.real),
        "notes": list(result.notes),
    }


def _from_json(found: dict[str, Any]) -> Result:
    def row(values: dict[str, Any]) -> Row:
        figures = {
            name: Estimate(**figure) if isinstance(figure, dict) else float(figure)
            for name, figure in values["figures"].items()
        }
        return Row(**(values | {"figures": figures}))

    real = None if found["real"] is None else row(found["real"])
    return Result(found["name"], found["question"], [row(r) for r in found["rows"]], real, found["notes"])
