"""Writes the leaderboard: published UCF-101 results and our own, apart wherever they were not taken alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from storage.registry.evaluations import EvaluationPoint
from tasks.pages.metric_names import OF_LONG_VIDEOS, REFERENCE, column_order, direction, title
from tasks.pages.page import write_page
from tasks.pages.published import FULL_COUNT, PublishedResult, published_results

PAPER_PROTOCOL = "vidrd-paper"


@dataclass(frozen=True)
class ShownMetric:
    """Holds a recorded value and its interval; None where none was recorded."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class OwnResult:
    """Holds one evaluation of a model version: its metrics and all that they depend on.

    `n` is the number of generated videos, `reference` the digest of the real ones ("" where it was not kept).
    """

    version: int
    protocol: str
    n: int
    metrics: Mapping[str, ShownMetric]
    reference: str
    at: datetime


@dataclass(frozen=True)
class Section:
    """Holds one table: rows that may stand in one order, and what keeps them apart from all others."""

    heading: str
    apart: str
    published: bool
    columns: Sequence[str]
    rows: Sequence[PublishedResult | OwnResult]


def own_results(points: Iterable[EvaluationPoint]) -> list[OwnResult]:
    """Picks the newest evaluation of every version in each set-up, from what the registry has recorded."""
    evaluations: dict[tuple, dict[datetime, dict[str, ShownMetric]]] = {}
    for point in points:
        if not point.name.endswith(REFERENCE):
            setup = (point.version, point.protocol, point.n, point.reference)
            metrics = evaluations.setdefault(setup, {}).setdefault(point.at, {})
            metrics[point.name] = ShownMetric(point.value, point.low, point.high)
    return [
        OwnResult(version, protocol, n, times[max(times)], reference, max(times))
        for (version, protocol, n, reference), times in evaluations.items()
    ]


def write_leaderboard(own: Sequence[OwnResult], path: Path) -> Path:
    """Writes the page; the file appears whole or not at all, RequestError when it cannot be written."""
    published = published_results()
    return write_page(
        "leaderboard.html",
        path,
        sections=leaderboard_sections(own, published),
        num_own=len({(result.version, result.at) for result in own}),
        num_published=len(published),
        title=title,
        direction=direction,
    )


def leaderboard_sections(own: Sequence[OwnResult], published: Sequence[PublishedResult]) -> list[Section]:
    """Makes the page's tables, each in the order of its FVD; no two rows of one were knowingly taken unlike."""
    beside = [result for result in own if _like_the_paper(result)]
    zero_shot = [row for row in published if row.setting == "zero-shot"]
    full = [row for row in zero_shot if row.videos == FULL_COUNT]
    sections = [
        Section(
            f"UCF-101, zero-shot, {FULL_COUNT:,} videos",
            f"Published results whose texts say that {FULL_COUNT:,} videos were generated, and ours under the protocol "
            f"{PAPER_PROTOCOL} with as many. Prompts, resolution and networks still differ: they stand in each row. "
            "Whether a model of ours has seen UCF-101 in training is for its dataset to say.",
            True,
            ("fvd", "is"),
            _by_fvd([*full, *beside]),
        ),
        Section(
            "UCF-101, zero-shot, another number of videos, or none stated",
            "FVD falls with the number of videos, so that these are not to be ranked with the table above, nor, "
            "where the number is not stated, with each other: the order is no ranking.",
            True,
            ("fvd", "is"),
            _by_fvd([row for row in zero_shot if row.videos != FULL_COUNT]),
        ),
        Section(
            "UCF-101, trained on it",
            "These models have seen UCF-101 in training: another task, with far lower distances. Both rows of CMD are "
            "the same model, with more and with fewer videos.",
            True,
            ("fvd", "is"),
            _by_fvd([row for row in published if row.setting == "trained"]),
        ),
    ]
    setups: dict[tuple[str, int, str], list[OwnResult]] = {}
    for result in own:
        if not _like_the_paper(result):
            setups.setdefault((result.protocol, result.n, result.reference), []).append(result)
    return sections + [
        _own_section(*setup, results) for setup, results in sorted(setups.items(), key=lambda item: item[0])
    ]


def _like_the_paper(result: OwnResult) -> bool:
    return result.protocol == PAPER_PROTOCOL and result.n == FULL_COUNT


def _own_section(protocol: str, n: int, reference: str, results: Sequence[OwnResult]) -> Section:
    if protocol == PAPER_PROTOCOL:
        why = f"The protocol of the paper with {n:,} videos instead of {FULL_COUNT:,}: FVD falls with their number."
    else:
        why = (
            f"No published row above was taken under the protocol {protocol}: nothing here compares with one."
        )
    against = f"reference {reference[:12]}" if reference else "reference not kept"
    videos = f"{n:,} videos"
    if all(set(result.metrics) <= set(OF_LONG_VIDEOS) for result in results):
        videos = f"the {n:,} long videos"
        why += " Seams and cycling are of an evaluation's long videos; its other metrics stand in the table of all."
    return Section(
        f"Ours: protocol {protocol}, {videos}, {against}",
        f"{why} Rows of this table compare with each other only, never with another protocol, number of videos "
        "or reference.",
        False,
        column_order({name for result in results for name in result.metrics}),
        _by_fvd(results),
    )


def _by_fvd(rows: Sequence[PublishedResult | OwnResult]) -> list[PublishedResult | OwnResult]:
    """Puts the lowest FVD first; what has none comes last, newest version first."""

    def key(row: PublishedResult | OwnResult) -> tuple[bool, float, int]:
        if isinstance(row, PublishedResult):
            return False, row.fvd, 0
        fvd = row.metrics.get("fvd")
        return fvd is None, 0.0 if fvd is None else fvd.value, -row.version

    return sorted(rows, key=key)
