"""Renders a run's summary, pictures and curves into one self-contained report.html."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.pages.charts import bar_chart, loss_chart, score_histogram
from tasks.pages.page import write_page
from tasks.pages.thumbnails import Thumbnail
from tasks.units import duration


@dataclass(frozen=True)
class SamplePair:
    """Holds a generated video (mp4 as data URI) and a real clip with the same caption, if the data has one."""

    prompt: str
    seed: int
    video: str
    file: str
    real: Thumbnail | None


@dataclass(frozen=True)
class ReportMedia:
    """Holds what the page shows beside the summary's numbers; `slipped` are wrong captions that were kept."""

    kept: Mapping[str, Sequence[Thumbnail]]
    slipped: Sequence[Thumbnail]
    rejected: Sequence[Thumbnail]
    samples: Sequence[SamplePair]
    contact_sheet: str
    right_scores: Sequence[float]
    wrong_scores: Sequence[float]
    curves: Mapping[str, Sequence[tuple[int, float | None]]] = field(default_factory=dict)


def write_report(summary: Mapping[str, Any], media: ReportMedia, path: Path) -> Path:
    """Writes the page for a summary as demo.json holds it; the file appears whole or not at all."""
    return write_page("report.html", path, s=summary, media=media, charts=_charts(summary, media))


def _charts(summary: Mapping[str, Any], media: ReportMedia) -> dict[str, Any]:
    held_out = summary["held_out_loss"]
    stages = summary["seconds_per_stage"]
    return {
        "scores": score_histogram(
            media.right_scores, media.wrong_scores, summary["clip_filter"]["threshold"]
        ),
        "losses": {name: loss_chart(points) for name, points in media.curves.items() if points},
        "held_out": {
            part: bar_chart(
                [(name, loss, f"{loss:.4g}") for name, loss in losses.items()],
                "held-out loss",
                "candidate",
                is_good=losses["candidate"] < losses["base"],
            )
            for part, losses in held_out.items()
        },
        "seconds": bar_chart(
            [(name, seconds, duration(seconds)) for name, seconds in stages.items()], "seconds"
        ),
    }
