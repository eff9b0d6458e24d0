"""Renders a run's summary, pictures and curves into one self-contained report.html."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.report.figures import bar_chart, loss_chart, score_histogram
from tasks.report.thumbnails import Thumbnail


@dataclass(frozen=True)
class SamplePair:
    """A generated video (mp4 as data URI) and a real clip with the same caption, if the data has one."""

    prompt: str
    seed: int
    video: str
    file: str
    real: Thumbnail | None


@dataclass(frozen=True)
class ReportMedia:
    """What the page shows beside the numbers of the summary; `slipped` are wrong captions that were kept."""

    kept: Mapping[str, Sequence[Thumbnail]]
    slipped: Sequence[Thumbnail]
    rejected: Sequence[Thumbnail]
    samples: Sequence[SamplePair]
    contact_sheet: str
    right_scores: Sequence[float]
    wrong_scores: Sequence[float]
    curves: Mapping[str, Sequence[tuple[int, float]]] = field(default_factory=dict)


def write_report(summary: Mapping[str, Any], media: ReportMedia, path: Path) -> Path:
    """Writes the page for a summary as demo.json holds it; the file appears whole or not at all."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    # StrictUndefined: a figure that is missing must break the report, not leave a blank in it.
    environment = Environment(
        loader=PackageLoader("tasks.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["duration"] = duration
    environment.filters["percent"] = lambda share: f"{100 * share:.1f} %"
    environment.filters["figure"] = lambda value: f"{value:.4g}"
    page = environment.get_template("report.html").render(
        s=summary, media=media, charts=_charts(summary, media)
    )
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(page, encoding="utf-8")
    os.replace(partial, path)
    return path


def duration(seconds: float) -> str:
    """Returns seconds as a person says them: 8.2 s, 3 min 05 s."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


def _charts(summary: Mapping[str, Any], media: ReportMedia) -> dict[str, Any]:
    held_out = summary["held_out_loss"]
    stages = summary["seconds_per_stage"]
    return {
        "scores": score_histogram(
            media.right_scores, media.wrong_scores, summary["clip_filter"]["threshold"]
        ),
        "losses": {name: loss_chart(points) for name, points in media.curves.items() if points},
        "held_out": {
            part: bar_chart([(name, loss, f"{loss:.4g}") for name, loss in losses.items()], "candidate")
            for part, losses in held_out.items()
        },
        "seconds": bar_chart([(name, seconds, duration(seconds)) for name, seconds in stages.items()]),
    }
