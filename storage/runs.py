"""One open MLflow run: what a training or any other work leaves there while it goes on."""

import json
import math
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Self

from storage.errors import StorageError
from storage.mlflow_access import one_line_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient

_METRICS_PER_CALL = 1000  # what log_batch takes at most
_PARAMS_PER_CALL = 100


@dataclass(frozen=True)
class Run:
    """One open MLflow run; a run that was opened again knows what it holds already."""

    run_id: str
    client: "MlflowClient"
    uri: str
    reopened: bool = False
    _params: set[str] = field(default_factory=set)
    _last_steps: dict[str, int] = field(default_factory=dict)

    @classmethod
    def reopen(cls, run_id: str, client: "MlflowClient", uri: str) -> Self:
        """The run of an earlier process, with the parameters and the last step of every figure that it logged."""
        data = client.get_run(run_id).data
        last_steps = {
            name: max(point.step for point in client.get_metric_history(run_id, name))
            for name in data.metrics
        }
        return cls(run_id, client, uri, True, set(data.params), last_steps)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log parameters; nested mappings become dotted names.

        One that the run has already keeps its value, which MLflow could not change.
        """
        from mlflow.entities import Param

        new = [Param(name, str(value)) for name, value in _flatten(params) if name not in self._params]
        with one_line_errors(self.uri):
            for start in range(0, len(new), _PARAMS_PER_CALL):
                self.client.log_batch(self.run_id, params=new[start : start + _PARAMS_PER_CALL])
        self._params.update(param.key for param in new)

    def log_figures(self, points: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        """Log (step, {name: value}), in ascending steps and in as few calls as MLflow allows.

        A figure of a step that has been logged before is left out: what is trained again after a restart from
        a checkpoint comes again. Raises StorageError when MLflow takes nothing; the same points may then be
        given again.
        """
        from mlflow.entities import Metric

        now_ms = int(time.time() * 1000)
        new = [
            Metric(name, float(value), now_ms, int(step))
            for step, figures in points
            for name, value in figures.items()
            if step > self._last_steps.get(name, -1)
        ]
        with one_line_errors(self.uri):
            for start in range(0, len(new), _METRICS_PER_CALL):
                part = new[start : start + _METRICS_PER_CALL]
                self.client.log_batch(self.run_id, metrics=part)
                self._last_steps.update({metric.key: metric.step for metric in part})

    def log_bytes(self, path: str, content: bytes) -> None:
        """Keep a file with the run, at a path such as `samples/step-000200/a-red-circle.mp4`; again, it is replaced."""
        where = PurePosixPath(path)
        with tempfile.TemporaryDirectory() as folder, one_line_errors(self.uri):
            file = Path(folder, where.name)
            file.write_bytes(content)
            parent = None if where.parent == PurePosixPath(".") else str(where.parent)
            self.client.log_artifact(self.run_id, str(file), parent)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags of the run."""
        with one_line_errors(self.uri):
            for name, value in tags.items():
                self.client.set_tag(self.run_id, name, value)

    def tags(self) -> dict[str, str]:
        """The tags of the run as MLflow has them."""
        with one_line_errors(self.uri):
            return dict(self.client.get_run(self.run_id).data.tags)


def check_finite(figures: Mapping[str, float]) -> None:
    """StorageError for a figure of an evaluation that is not finite: MLflow would give a NaN back as 0.0, the best."""
    for name, value in figures.items():
        if not math.isfinite(value):
            raise StorageError(f"{name}: {value} cannot be recorded; the evaluation has failed")


def _flatten(params: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in params.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", json.dumps(value) if isinstance(value, list | tuple) else value
