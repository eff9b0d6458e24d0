"""Attacks the way from a training to its MLflow run: steps that come again, a registry that goes away and returns."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from flows.retrain.mlflow_watcher import MlflowWatcher
from storage.errors import StorageError
from storage.registry.registry import Registry
from tasks.training.watcher import TrainingWatcher


def history(registry: Registry, run_id: str, name: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in registry.client.get_metric_history(run_id, name)]


def test_figures_and_videos_of_two_parts_keep_apart(registry_home, tmp_path):
    registry = Registry()
    with registry.start_run("retrain") as run:
        for part, value in (("temporal", 1.0), ("decoder", 2.0)):
            watcher: TrainingWatcher = MlflowWatcher(run, part)
            watcher.started(0)
            watcher.figures([(1, {"loss": value, "lr": 0.1}), (2, {"loss": value / 2})])
            # Ray has restarted the workers from the checkpoint of step 1.
            watcher.started(1)
            watcher.figures([(2, {"loss": 9.0}), (3, {"loss": value / 4})])
            watcher.video(200, "../a red circle: 7", part.encode())
    for part, value in (("temporal", 1.0), ("decoder", 2.0)):
        points = history(registry, run.run_id, f"{part}.loss")
        assert points == [(1, value), (2, value / 2), (3, value / 4)]
        video = f"samples/{part}/step-000200/a-red-circle-7.mp4"
        kept = registry.client.download_artifacts(run.run_id, video, str(tmp_path))
        assert Path(kept).read_bytes() == part.encode()
        assert registry.client.get_run(run.run_id).data.tags[f"{part}.resumed_at_step"] == "1"


def test_a_registry_that_is_away_delays_figures_and_ends_nothing(registry_home, capsys):
    """A table of its database goes and comes back, as a server does that is restarted."""
    registry = Registry()

    def rename(old: str, new: str) -> None:
        with closing(sqlite3.connect(registry_home / "mlflow" / "mlflow.db")) as database:
            database.execute(f"ALTER TABLE {old} RENAME TO {new}")

    with registry.start_run("retrain") as run:
        watcher = MlflowWatcher(run, "temporal")
        watcher.figures([(1, {"loss": 1.0})])
        rename("metrics", "away")
        watcher.figures([(2, {"loss": 2.0})])
        watcher.figures([(3, {"loss": 3.0})])
        with pytest.raises(StorageError):
            watcher.close()
        rename("away", "metrics")
        watcher.figures([(4, {"loss": 4.0})])
        watcher.close()
    assert history(registry, run.run_id, "temporal.loss") == [(step, float(step)) for step in range(1, 5)]
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("[retrain")]
    assert len(lines) == 1 and lines[0].endswith("training goes on")
