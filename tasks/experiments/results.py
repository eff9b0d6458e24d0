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
    """One variant: its length in clips, the number of videos, its metrics, and remarks on it."""

    label: str
    num_clips: int
    n: int
    metrics: dict[str, Estimate | float] = field(default_factory=dict)
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
        """The names of all metrics, in the order in which rows first have them."""
        return list(dict.fromkeys(name for row in self.rows for name in row.metrics))


def value_of(metric: Estimate | float) -> float:
    """Returns the number itself."""
    return metric.value if isinstance(metric, Estimate) else metric


def write_result(result: Result, folder: Path) -> list[Path]:
    """Writes `NAME.md`, `NAME.csv` and `NAME.json` into a folder that exists."""
    paths = [folder / f"{result.name}.{ending}" for ending in ("md", "csv", "json")]
    paths[0].write_text(as_markdown(result), encoding="utf-8")
    paths[1].write_text(_as_csv(result), encoding="utf-8", newline="")
    write_json(paths[2], _as_json(result))
    return paths


def read_results(folder: Path, names: Sequence[str]) -> list[Result]:
    """Returns the results of these experiments that the folder has, in this order."""
    kept = [read_json(folder / f"{name}.json") for name in names]
    return [_from_json(found) for found in kept if found is not None]


def as_markdown(result: Result) -> str:
    """Returns a table in which each metric has its 95% interval beside it."""
    columns = result.columns
    rows: list[tuple[object, ...]] = []
    for row in [*result.rows, *([result.real] if result.real else [])]:
        cells = [printed(row.metrics.get(name)) for name in columns]
        rows.append((row.label, row.num_clips, row.n, *cells, row.remark))
    table = markdown.table(("variant", "clips", "n", *columns, ""), rows, numbers=True)
    notes = (f"- {markdown.text(note)}" for note in result.notes)
    title = [f"## {markdown.text(result.name)}", "", markdown.text(result.question), ""]
    return "\n".join([*title, *table, "", *notes]) + "\n"


def printed(metric: Estimate | float | None) -> str:
    """Returns the value and, where there is one, its interval; nothing where there is no metric."""
    if metric is None:
        return ""
    if isinstance(metric, Estimate):
        return f"{metric.value:.4g} [{metric.low:.3g}, {metric.high:.3g}]"
    return f"{metric:.4g}"


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
            metric = row.metrics.get(name)
            ends = (metric.low, metric.high) if isinstance(metric, Estimate) else ("", "")
            cells += ["" if metric is None else value_of(metric), *ends]
        writer.writerow(cells)
    return out.getvalue()


def _as_json(result: Result) -> dict[str, Any]:
    return {
        "name": result.name,
        "question": result.question,
        "rows": [_row_as_json(row) for row in result.rows],
        "real": None if result.real is None else _row_as_json(result.real),
        "notes": list(result.notes),
    }


def _row_as_json(row: Row) -> dict[str, Any]:
    values = asdict(row)
    return {"figures" if name == "metrics" else name: value for name, value in values.items()}


def _from_json(found: dict[str, Any]) -> Result:
    def row(values: dict[str, Any]) -> Row:
        metrics = {
            name: Estimate(**metric) if isinstance(metric, dict) else float(metric)
            for name, metric in values["figures"].items()
        }
        return Row(values["label"], values["num_clips"], values["n"], metrics, values["remark"])

    real = None if found["real"] is None else row(found["real"])
    return Result(found["name"], found["question"], [row(r) for r in found["rows"]], real, found["notes"])
