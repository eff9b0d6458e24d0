"""Writes the report of an evaluation as Markdown: every metric with its interval, protocol and number of videos."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tasks import markdown

if TYPE_CHECKING:
    from tasks.evaluation.report import EvaluationReport, SlidingFvd


def as_markdown(report: EvaluationReport) -> str:
    """Returns a table of the metrics beside those of the real clips, the set-up, and what could not be computed."""
    reference = report.reference
    lines = [
        f"{_subject(report)}, reference {markdown.code(reference.folder)} ({reference.n} clips)",
        "",
        f"Protocol **{markdown.text(report.protocol)}**: {markdown.text(report.about)}.",
        "",
        *_metrics_table(report),
    ]
    lines += _over_time(report.fvd_over_time, report.protocol)
    lines += [
        f"\n{markdown.text(name)} is missing: {markdown.text(why)}."
        for name, why in report.unavailable.items()
    ]
    lines.append(f"\nLineage: {markdown.text(report.lineage)}.")
    if reference.unreadable:
        lines.append(f"\nNot readable in the reference folder: {len(reference.unreadable)}")
        lines += [
            f"- {markdown.code(item['file'])}: {markdown.text(item['error'])}"
            for item in reference.unreadable
        ]
    setup = ((name, markdown.Code(value)) for name, value in report.setup.as_dict().items())
    lines += ["", *markdown.table(("set-up", ""), setup)]
    if report.sampling is not None:
        lines += ["", *markdown.table(("sampled with", "", "from"), sampled_rows(report.sampling))]
    return "\n".join(lines) + "\n"


def _subject(report: EvaluationReport) -> str:
    videos = report.videos
    if videos is None:
        return f"Model {markdown.code(report.model)}"
    fewer = f", not the usual {videos.asked}" if report.n < videos.asked else ""
    how_many = f"{report.n} of {videos.found} videos{fewer}"
    return f"Videos {markdown.code(videos.folder)} ({how_many}; {videos.frames} frames at {report.fps:g} fps)"


def _metrics_table(report: EvaluationReport) -> list[str]:
    real, rows = report.reference.metrics, []
    for name, metric in report.metrics.items():
        estimate = metric.estimate
        beside = f"{real[name].estimate.value:.4g}" if name in real else ""
        interval = f"{estimate.low:.4g} to {estimate.high:.4g}"
        rows.append((name, f"{estimate.value:.4g}", interval, beside, metric.protocol, metric.n))
    head = ("figure", "value", "95% interval", "real clips", "protocol", "n")
    return markdown.table(head, rows, numbers=True)


def _over_time(sliding: SlidingFvd | None, protocol: str) -> list[str]:
    if sliding is None:
        return []
    starts = [index * sliding.stride_frames for index in range(len(sliding.values))]
    windows = ", ".join(f"{start}: {value:.4g}" for start, value in zip(starts, sliding.values, strict=True))
    return [f"\nFVD of the window from each frame on ({protocol}, n = {sliding.n} long videos): {windows}."]


def sampled_rows(sampling: Mapping[str, Any]) -> list[tuple[object, ...]]:
    """Rows of a table: each setting, its value, and where it comes from."""
    return [(name, markdown.Code(how["value"]), how["from"]) for name, how in sampling.items()]
