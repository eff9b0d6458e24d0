"""One open MLflow run: what a training or any other work leaves there while it goes on."""

import json
import math
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Self

from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from storage.errors import StorageError
from storage.local.addresses import without_secrets
from storage.registry.mlflow_access import one_line_errors

NOT_FINITE_TAG = "not_finite."
"""Of a run: what follows is a figure's name, the value are the steps at which it was infinite or NaN."""

_RANGES_CHARACTERS = 1000  # MLflow refuses or cuts tags of several thousand
_METRICS_PER_CALL = 1000  # what log_batch takes at most
_PARAMS_PER_CALL = 100


@dataclass(frozen=True)
class Run:
    """One open MLflow run; a run that was opened again knows what it holds already."""

    run_id: str
    client: MlflowClient
    uri: str
    reopened: bool = False
    _params: set[str] = field(default_factory=set)
    _steps: dict[str, set[int]] = field(default_factory=dict)
    _not_finite: dict[str, set[int]] = field(default_factory=dict)
    _unsure: set[str] = field(default_factory=set)

    @classmethod
    def reopen(cls, run_id: str, client: MlflowClient, uri: str) -> Self:
        """Gives the run of an earlier process, with the parameters and the steps of every figure that it logged."""
        data = client.get_run(run_id).data
        steps = {name: _logged_steps(client, run_id, name) for name in data.metrics}
        not_finite = {
            name.removeprefix(NOT_FINITE_TAG): steps_of(text)
            for name, text in data.tags.items()
            if name.startswith(NOT_FINITE_TAG)
        }
        return cls(run_id, client, uri, True, set(data.params), steps, not_finite)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Logs parameters; nested mappings become dotted names.

        One that the run has already keeps its value, which MLflow could not change.
        """
        new = [
            Param(name, without_secrets(str(value)))
            for name, value in _flatten(params)
            if name not in self._params
        ]
        with one_line_errors(self.uri):
            for start in range(0, len(new), _PARAMS_PER_CALL):
                self.client.log_batch(self.run_id, params=new[start : start + _PARAMS_PER_CALL])
        self._params.update(param.key for param in new)

    def log_metrics(self, points: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        """Logs (step, {name: value}), in as few calls as MLflow allows; each figure of a step once, the first one.

        What is trained again after a restart from a checkpoint comes again, and what a crash kept back comes late.
        A value that is not finite, which MLflow would give back as another number, becomes a step in the tag
        `not_finite.NAME`. Raises StorageError when MLflow takes nothing; the same points may then be given again.
        """
        self._make_sure()
        now_ms = int(time.time() * 1000)
        new: dict[tuple[str, int], Metric] = {}
        not_finite: dict[str, set[int]] = {}
        for step, figures in points:
            for name, value in figures.items():
                if not math.isfinite(value):
                    not_finite.setdefault(name, set()).add(int(step))
                elif step not in self._steps.get(name, ()):
                    new.setdefault((name, int(step)), Metric(name, float(value), now_ms, int(step)))
        self._log_metrics(list(new.values()))
        self._name_not_finite(not_finite)

    def _log_metrics(self, metrics: Sequence[Metric]) -> None:
        with one_line_errors(self.uri):
            for start in range(0, len(metrics), _METRICS_PER_CALL):
                part = metrics[start : start + _METRICS_PER_CALL]
                # An answer that is lost leaves open whether the figures were taken.
                self._unsure.update(metric.key for metric in part)
                self.client.log_batch(self.run_id, metrics=part)
                self._unsure.clear()
                for metric in part:
                    self._steps.setdefault(metric.key, set()).add(metric.step)

    def _make_sure(self) -> None:
        """Asks MLflow which steps it has of the figures whose logging failed."""
        with one_line_errors(self.uri):
            for name in sorted(self._unsure):
                self._steps[name] = _logged_steps(self.client, self.run_id, name)
        self._unsure.clear()

    def _name_not_finite(self, steps: Mapping[str, set[int]]) -> None:
        for name, more in steps.items():
            known = self._not_finite.get(name, set())
            if not more <= known:
                self.set_tags({f"{NOT_FINITE_TAG}{name}": as_ranges(known | more)})
                self._not_finite[name] = known | more

    def log_bytes(self, path: str, content: bytes) -> None:
        """Keeps a file with the run, at a path such as `samples/step-000200/a-red-circle.mp4`, or replaces it."""
        where = PurePosixPath(path)
        with tempfile.TemporaryDirectory() as folder, one_line_errors(self.uri):
            file = Path(folder, where.name)
            file.write_bytes(content)
            parent = None if where.parent == PurePosixPath(".") else str(where.parent)
            self.client.log_artifact(self.run_id, str(file), parent)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Sets tags of the run."""
        with one_line_errors(self.uri):
            for name, value in tags.items():
                self.client.set_tag(self.run_id, name, without_secrets(value))

    def tags(self) -> dict[str, str]:
        """Gives the tags of the run as MLflow has them."""
        with one_line_errors(self.uri):
            return dict(self.client.get_run(self.run_id).data.tags)


def as_ranges(steps: Collection[int]) -> str:
    """Steps as in `3, 7-9`; what is too long for a tag ends in `, ...`."""
    ranges: list[list[int]] = []
    for step in sorted(steps):
        if ranges and step == ranges[-1][1] + 1:
            ranges[-1][1] = step
        else:
            ranges.append([step, step])
    text = ", ".join(f"{first}-{last}" if last > first else f"{first}" for first, last in ranges)
    if len(text) <= _RANGES_CHARACTERS:
        return text
    return text[:_RANGES_CHARACTERS].rpartition(", ")[0] + ", ..."


def steps_of(text: str) -> set[int]:
    """Gives the steps that `as_ranges` has named."""
    steps: set[int] = set()
    for part in text.removesuffix(", ...").split(", "):
        first, _, last = part.partition("-")
        steps.update(range(int(first), int(last or first) + 1))
    return steps


def _logged_steps(client: MlflowClient, run_id: str, name: str) -> set[int]:
    return {point.step for point in client.get_metric_history(run_id, name)}


def check_finite(figures: Mapping[str, float]) -> None:
    """Raises StorageError for a figure that is not finite: MLflow would give a NaN back as 0.0, the best."""
    for name, value in figures.items():
        if not math.isfinite(value):
            raise StorageError(f"{name}: {value} cannot be recorded; the evaluation has failed")


def _flatten(params: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in params.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", json.dumps(value) if isinstance(value, list | tuple) else value
