"""Recorded evaluations that may be compared: where a champion's rows lie that were taken as a candidate's were."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.evaluate.record import MEASURES_FILE, REPORT_FILE
from storage.registry.names import SETUP_TAG

if TYPE_CHECKING:
    from storage.registry.registry import Registry


def champion_setup(registry: Registry, version: int, setup: str, champion: int) -> str | None:
    """The set-up under which the champion was evaluated as the version was under `setup`; None when it never was."""
    from storage.registry.evaluation_files import evaluated_setups, was_evaluated
    from tasks.evaluation.comparable import comparable_setup

    if was_evaluated(registry, champion, setup, MEASURES_FILE):
        return setup
    mine = _report(registry, version, setup)
    if mine is None:
        return None
    wanted = comparable_setup(mine["setup"])
    for other in evaluated_setups(registry, champion):
        theirs = _report(registry, champion, other)
        if theirs is not None and comparable_setup(theirs["setup"]) == wanted:
            return other
    return None


def shown_differences(registry: Registry, version: int, champion: int | None) -> dict[str, str]:
    """How the two models were sampled unlike each other: both values by the setting's name."""
    from tasks.evaluation.comparable import sampling_differences

    if champion is None:
        return {}
    setup = registry.version_tags(version)[SETUP_TAG]
    of_champion = champion_setup(registry, version, setup, champion)
    if of_champion is None:
        return {}
    mine, theirs = _report(registry, version, setup), _report(registry, champion, of_champion)
    if mine is None or theirs is None:
        return {}
    return {
        name: f"{candidate}, champion {before}"
        for name, (candidate, before) in sampling_differences(mine, theirs).items()
    }


def _report(registry: Registry, version: int, setup: str) -> dict[str, Any] | None:
    """The report of a recorded evaluation; None where only its rows were kept."""
    from storage.local.json_files import read_json
    from storage.registry.evaluation_files import fetch_evaluation, was_evaluated

    if not was_evaluated(registry, version, setup, REPORT_FILE):
        return None
    with tempfile.TemporaryDirectory() as folder:
        report: dict[str, Any] = read_json(
            fetch_evaluation(registry, version, setup, REPORT_FILE, Path(folder))
        )
    return report
