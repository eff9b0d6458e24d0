"""Finds recorded evaluations that may be compared: where a champion's lies that was taken as a candidate's was."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from storage.local.json_files import read_json
from storage.registry.evaluation_files import evaluated_setups, fetch_evaluation, was_evaluated
from storage.registry.names import FEATURES_FILE, REPORT_FILE, SETUP_TAG, version_ref
from storage.registry.registry import Registry
from tasks.errors import RequestError
from tasks.evaluation.comparable import RecordedSetup


@dataclass(frozen=True)
class ComparedSetups:
    """The set-ups of the last evaluation of a version and of the champion's that may be compared with it, by digest.

    `unlike` are the settings that the two models were sampled with unlike each other, both values by name.
    """

    version: str
    champion: str | None = None
    unlike: dict[str, str] = field(default_factory=dict)


def compared_setups(registry: Registry, version: int, champion: int | None) -> ComparedSetups:
    """RequestError when the version was not evaluated, or the champion (None: there is none) not as the version was."""
    setup = registry.version_tags(version).get(SETUP_TAG)
    if setup is None:
        raise RequestError(
            f"model: version {version} has no recorded evaluation; run vidrd evaluate --model {version_ref(version)}"
        )
    if champion is None:
        return ComparedSetups(setup)
    mine = _recorded(registry, version, setup)
    of_champion = _champion_setup(registry, mine, setup, champion)
    if of_champion is None:
        raise RequestError(
            f"model: the champion, version {champion}, was not evaluated as version {version} was (protocol, number, "
            "prompts, seeds, real clips, frame rate, frames, size); run vidrd evaluate --beside-champion --model "
            f"{version_ref(version)}"
        )
    theirs = _recorded(registry, champion, of_champion)
    differences = {} if mine is None or theirs is None else mine.differences(theirs)
    unlike = {name: f"{value}, champion {before}" for name, (value, before) in differences.items()}
    return ComparedSetups(setup, of_champion, unlike)


def _champion_setup(registry: Registry, mine: RecordedSetup | None, setup: str, champion: int) -> str | None:
    if was_evaluated(registry, champion, setup, FEATURES_FILE):
        return setup
    if mine is None:
        return None
    for other in evaluated_setups(registry, champion):
        theirs = _recorded(registry, champion, other)
        if theirs is not None and mine.comparable(theirs):
            return other
    return None


def _recorded(registry: Registry, version: int, setup: str) -> RecordedSetup | None:
    """Reads how a recorded evaluation was taken; None where only its features were kept."""
    if not was_evaluated(registry, version, setup, REPORT_FILE):
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = fetch_evaluation(registry, version, setup, REPORT_FILE, Path(folder))
        return RecordedSetup.from_report(read_json(path))
