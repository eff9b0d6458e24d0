"""What the registry knows of evaluations and promotions: every figure ever recorded of every version, by time."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from storage.registry.mlflow_access import one_line_errors
from storage.registry.names import MODEL_NAME, PROMOTION, PROPOSAL

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from storage.registry.registry import Registry

_VERSIONS_PER_CALL = 200
_NAME = re.compile(r"(?P<name>.+)\.(?P<protocol>[^.]+)\.n(?P<n>\d+)(?:\.(?P<bound>low|high))?")


@dataclass(frozen=True)
class EvaluationPoint:
    """One figure of one evaluation of a version.

    `setup` is the protocol and the number of videos, as in `tiny.n48`; `low` and `high` bound the figure's interval,
    None where none was recorded; `reference` is the digest of the real clips, "" where it was not kept. Points of
    one evaluation share `at`.
    """

    version: int
    at: datetime
    name: str
    setup: str
    value: float
    low: float | None
    high: float | None
    reference: str

    @property
    def protocol(self) -> str:
        """The protocol's name."""
        return self.setup.rpartition(".n")[0]

    @property
    def n(self) -> int:
        """The number of videos."""
        return int(self.setup.rpartition(".n")[2])


@dataclass(frozen=True)
class PromotionEvent:
    """The last decision on a version: `promotion` acted on it, `proposal` (after a training by schedule) did not.

    `outcome` is `promoted`, `refused`, `rolled back` or `cannot-judge`; of a proposal the gate's verdict.
    """

    version: int
    at: datetime
    kind: Literal["promotion", "proposal"]
    outcome: str
    reason: str
    champion_before: int | None


def evaluation_history(registry: "Registry") -> list[EvaluationPoint]:
    """Returns every recorded metric of every version, oldest first; StorageError when MLflow cannot be read.

    Figures recorded under names that are not NAME.PROTOCOL.nN are left out.
    """
    points: list[EvaluationPoint] = []
    for found in _versions(registry):
        points += _points(registry, found)
    return sorted(points, key=lambda point: (point.at, point.version, point.setup, point.name))


def promotion_history(registry: "Registry") -> list[PromotionEvent]:
    """Returns the decisions that versions carry as tags, oldest first; StorageError when MLflow cannot be read."""
    events = [event for found in _versions(registry) for event in _events(found)]
    return sorted(events, key=lambda event: (event.at, event.version))


def _versions(registry: "Registry") -> Iterator["ModelVersion"]:
    token = None
    while True:
        with one_line_errors(registry.uri):
            page = registry.client.search_model_versions(
                f"name = '{MODEL_NAME}'", max_results=_VERSIONS_PER_CALL, page_token=token
            )
        yield from page
        token = page.token
        if not token:
            return


def _points(registry: "Registry", found: "ModelVersion") -> Iterator[EvaluationPoint]:
    bounds: dict[tuple[str, str, int], dict[str, float]] = {}
    figures: list[tuple[str, str, int, float, str]] = []
    for figure in registry.recorded_metrics(int(found.version)):
        match = _NAME.fullmatch(figure.name)
        if match is None:
            continue
        setup = f"{match['protocol']}.n{match['n']}"
        if match["bound"]:
            bounds.setdefault((match["name"], setup, figure.step), {})[match["bound"]] = figure.value
        else:
            figures.append((match["name"], setup, figure.step, figure.value, figure.reference))
    for name, setup, step, value, reference in figures:
        interval = bounds.get((name, setup, step), {})
        at = datetime.fromtimestamp(step / 1000, UTC)
        low, high = interval.get("low"), interval.get("high")
        yield EvaluationPoint(int(found.version), at, name, setup, value, low, high, reference)


def _events(found: "ModelVersion") -> Iterator[PromotionEvent]:
    tags = found.tags
    for names in (PROMOTION, PROPOSAL):
        if names.kind in tags and names.decided_at in tags:
            yield PromotionEvent(
                int(found.version),
                datetime.fromisoformat(tags[names.decided_at]),
                names.kind,
                tags[names.kind],
                tags.get(names.reason, ""),
                names.champion_of(tags),
            )
