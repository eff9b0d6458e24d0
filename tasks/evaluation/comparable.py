"""Which evaluations may be set side by side: those of the same real clips, prompts, seeds, sizes and rates.

Each model is sampled at its own settings, as whoever uses it would: how many steps it takes, how it is guided and how
it reuses the clip before are part of the model. What differs is shown beside the figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def comparable_setup(setup: Mapping[str, Any]) -> dict[str, Any]:
    """What must be the same of two evaluations, from the set-up of a report.

    A report from before models had settings of their own names all of them there: only the frames of a clip count.
    """
    same = {name: value for name, value in setup.items() if name != "sampling"}
    if "sampling" in setup:
        same["clip_frames"] = setup["sampling"]["num_frames"]
    return same


def sampled_with(report: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a report's videos were sampled with, by name."""
    if "sampling" in report:
        return {name: setting["value"] for name, setting in report["sampling"].items()}
    return dict(report["setup"].get("sampling", {}))


def sampling_differences(
    candidate: Mapping[str, Any], champion: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
    """The settings that two reports name with unlike values, each as (candidate's, champion's)."""
    mine, theirs = sampled_with(candidate), sampled_with(champion)
    return {
        name: (mine[name], theirs[name])
        for name in mine
        if name in theirs and not _same(mine[name], theirs[name])
    }


def _same(mine: Any, theirs: Any) -> bool:
    # Infinity is a number in older reports and a text in newer ones.
    return str(mine) == str(theirs) or mine == theirs
