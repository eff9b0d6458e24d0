"""Asks the gate about recorded evaluations: the features of a version and of the champion, from the registry."""

from __future__ import annotations

import tempfile
from pathlib import Path

from flows.evaluate.comparable import ComparedSetups, compared_setups
from storage.registry.evaluation_files import fetch_evaluation
from storage.registry.names import FEATURES_FILE, PROTOCOL_TAG, REFERENCE_FILE, version_ref
from storage.registry.registry import Registry
from tasks.errors import RequestError
from tasks.evaluation.features import VideoFeatures, load_features
from tasks.evaluation.gate import decide
from tasks.evaluation.protocols import find_protocol
from tasks.evaluation.settings import GateSettings
from tasks.evaluation.verdict import Decision


def verdict(registry: Registry, version: int, champion: int | None, gate: GateSettings) -> Decision:
    """Asks a gate about a version beside the champion, if there is one.

    RequestError when the recorded features are damaged, or not of one set-up.
    """
    setups = compared_setups(registry, version, champion)
    return decide_recorded(registry, version, champion, setups, gate)


def decide_recorded(
    registry: Registry, version: int, champion: int | None, setups: ComparedSetups, gate: GateSettings
) -> Decision:
    """Asks a gate the same, under set-ups that were found before."""
    protocol = find_protocol(registry.version_tags(version).get(PROTOCOL_TAG, ""))
    candidate = _features(registry, version, setups.version, FEATURES_FILE)
    reference = _features(registry, version, setups.version, REFERENCE_FILE)
    beside = None
    if champion is not None:
        assert setups.champion is not None
        beside = _features(registry, champion, setups.champion, FEATURES_FILE)
    return decide(candidate, beside, reference, protocol, gate)


def _features(registry: Registry, version: int, setup: str, file: str) -> VideoFeatures:
    with tempfile.TemporaryDirectory() as folder:
        path = fetch_evaluation(registry, version, setup, file, Path(folder))
        try:
            found = load_features(path)[0]
        except RequestError as error:
            raise RequestError(
                f"model: version {version}: {file} is damaged; run vidrd evaluate --model {version_ref(version)}"
            ) from error
    if found is None:
        raise RequestError(
            f"model: version {version}: {file} holds no videos; run vidrd evaluate --model {version_ref(version)}"
        )
    return found
