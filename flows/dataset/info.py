"""What a dataset holds, as JSON: the counts of its tables, and what its builds noted of thresholds and captions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flows.profile_choice import profile_of_build
from storage.dataset.builds import Build, builds_until, last_with
from storage.dataset.clip_dataset import ClipDataset
from tasks.errors import RequestError
from tasks.filters.settings import FilterSettings
from tasks.ingest.thresholds import describe_thresholds


def dataset_info(dataset: ClipDataset) -> dict[str, Any]:
    """Gives the dataset's own counts, its thresholds and whose they are, what judges nudity, how many captions are cut.

    Captions are counted by builds; what a takedown has changed since, the next one counts.
    """
    builds = builds_until(dataset.folder, dataset.tag)
    counted = last_with(builds, "cut_captions")
    cut = None if counted is None else counted.summary["cut_captions"] | {"counted_in": counted.tag}
    filtered = last_with(builds, "filter")
    return dataset.info() | {
        "thresholds": _thresholds(dataset.folder, builds),
        "nudity": None if filtered is None else filtered.summary.get("nudity"),
        "cut_captions": cut,
    }


def _thresholds(folder: Path, builds: list[Build]) -> dict[str, dict[str, Any]]:
    """For each filter that was on in the last of these builds its `value`, and where it was `from`."""
    build = last_with(builds, "filter")
    return describe_thresholds(builds, None if build is None else _usual(folder, build))


def _usual(folder: Path, build: Build) -> FilterSettings | None:
    """Gives the thresholds of the build's profile; None where it is not to be found here."""
    try:
        return (
            profile_of_build(folder, build.summary).load({}).filter if build.summary.get("profile") else None
        )
    except RequestError:
        return None
