"""The report of an evaluation as Markdown: every figure with its interval, its protocol and its number of videos."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks import markdown


def as_markdown(report: Mapping[str, Any]) -> str:
    """A table of the figures beside those of the real clips, the set-up, and what could not be computed."""
    reference = report["reference"]
    lines = [
        f"{_subject(report)}, reference {markdown.code(reference['folder'])} ({reference['n']} clips)",
        "",
        f"Protocol **{markdown.text(report['protocol'])}**: {markdown.text(report['about'])}.",
        "",
    ]
    real, rows = reference["metrics"], []
    for name, metric in report["metrics"].items():
        beside = f"{real[name]['value']:.4g}" if name in real else ""
        interval = f"{metric['low']:.4g} to {metric['high']:.4g}"
        rows.append((name, f"{metric['value']:.4g}", interval, beside, metric["protocol"], metric["n"]))
    head = ("figure", "value", "95% interval", "real clips", "protocol", "n")
    lines += markdown.table(head, rows, numbers=True)
    lines += _over_time(report["fvd_over_time"], report["protocol"])
    lines += [
        f"\n{markdown.text(name)} is missing: {markdown.text(why)}."
        for name, why in report["unavailable"].items()
    ]
    lines.append(f"\nLineage: {markdown.text(report['lineage'])}.")
    unreadable = reference["unreadable"]
    if unreadable:
        lines.append(f"\nNot readable in the reference folder: {len(unreadable)}")
        lines += [f"- {markdown.code(item['file'])}: {markdown.text(item['error'])}" for item in unreadable]
    setup = ((name, markdown.Code(value)) for name, value in report["setup"].items())
    lines += ["", *markdown.table(("set-up", ""), setup)]
    if "sampling" in report:
        lines += ["", *markdown.table(("sampled with", "", "from"), sampled_rows(report["sampling"]))]
    return "\n".join(lines) + "\n"


def _subject(report: Mapping[str, Any]) -> str:
    if "videos" not in report:
        return f"Model {markdown.code(report['model'])}"
    videos = report["videos"]
    fewer = f", not the usual {videos['asked']}" if report["n"] < videos["asked"] else ""
    how_many = f"{report['n']} of {videos['found']} videos{fewer}"
    return f"Videos {markdown.code(videos['folder'])} ({how_many}; {videos['frames']} frames at {report['fps']:g} fps)"


def _over_time(sliding: Mapping[str, Any] | None, protocol: str) -> list[str]:
    if sliding is None:
        return []
    starts = [index * sliding["stride_frames"] for index in range(len(sliding["values"]))]
    windows = ", ".join(
        f"{start}: {value:.4g}" for start, value in zip(starts, sliding["values"], strict=True)
    )
    return [
        f"\nFVD of the window from each frame on ({protocol}, n = {sliding['n']} long videos): {windows}."
    ]


def sampled_rows(sampling: Mapping[str, Any]) -> list[tuple[object, ...]]:
    """Rows of a table: each setting, its value, and where it comes from."""
    return [(name, markdown.Code(how["value"]), how["from"]) for name, how in sampling.items()]
