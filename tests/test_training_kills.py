"""Kills a training with signal 9 between any two lines that write: no step is lost to MLflow, and none comes twice."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch

from flows.retrain.mlflow_watcher import MlflowWatcher
from storage.registry.registry import Registry
from tasks.training.checkpoints import CheckpointStore
from tests.test_registry import stored_metrics
from tests.test_training_engine import Told, training

PROJECT = Path(__file__).parents[1]
WRITERS = ("engine.py", "progress.py", "checkpoints.py", "mlflow_watcher.py", "runs.py")
CHANGES = {"steps": 40, "log_every": 10, "checkpoint_every": 4, "heldout_samples": 2, "validate_every": 13}
RANDOM_KILLS = 5

PROGRAM = """
import sys
project, arguments = sys.argv[1:]
sys.path.insert(0, project)
import json
from tests.test_training_kills import train_until
train_until(**json.loads(arguments))
"""

pytestmark = pytest.mark.slow


class KillAt:
    """Ends this process before the n-th line that the writers run, or that one of their functions runs."""

    def __init__(self, n: int, function: str | None) -> None:
        self._left, self._function = n, function

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Any:
        if Path(frame.f_code.co_filename).name not in WRITERS:
            return None
        if event == "line" and self._function in (None, frame.f_code.co_name):
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return self


def train_until(dataset: str, model: str, store: str, run_id: str, n: int, function: str | None) -> None:
    """Trains in this process, from what is there, and into its MLflow run, until the n-th line."""
    registry = Registry()
    with registry.start_run("retrain", run_id=run_id) as run:
        going = training(Path(dataset), Path(model), **CHANGES)
        watcher = MlflowWatcher(run, "temporal")
        killer = KillAt(n, function)
        threading.settrace(killer)
        sys.settrace(killer)
        going.run(CheckpointStore(store, "config", 2), watcher)
        sys.settrace(None)
        watcher.close()


def run_until(n: int, function: str | None = None, **arguments: str) -> int:
    """The exit code of a process that does so."""
    told = json.dumps({**arguments, "n": n, "function": function})
    return subprocess.run([sys.executable, "-c", PROGRAM, str(PROJECT), told], cwd=PROJECT).returncode


@pytest.fixture(scope="module")
def undisturbed(training_clips, small_model, tmp_path_factory):
    """The same training that nobody kills."""
    done, told = training(training_clips, small_model, **CHANGES), Told()
    done.run(CheckpointStore(str(tmp_path_factory.mktemp("store") / "s"), "config", 2), told)
    return done, told


@pytest.fixture
def arguments(tmp_home, tmp_path, training_clips, small_model) -> dict[str, str]:
    registry = Registry()
    with registry.start_run("retrain") as run:
        pass
    places = {"dataset": training_clips, "model": small_model, "store": tmp_path / "store"}
    return {name: str(place) for name, place in places.items()} | {"run_id": run.run_id}


def check(arguments: dict[str, str], undisturbed, home: Path) -> None:
    done, told = undisturbed
    stored = stored_metrics(home, arguments["run_id"])
    assert all(len(values) == 1 for values in stored.values()), "a step came twice"
    wanted = {(f"temporal.{name}", step) for step, figures in told.points for name in figures}
    assert stored.keys() == wanted, "a step is missing"
    for (name, step), [(value, _)] in stored.items():
        if name in ("temporal.loss", "temporal.gradient_norm", "temporal.lr"):
            assert value == done.progress.curves[name.removeprefix("temporal.")][step]
    state = CheckpointStore(arguments["store"], "config", 2).load_newest()
    assert state is not None
    assert all(torch.equal(state["ema"][name], weight) for name, weight in done.ema.weights.items())


@pytest.mark.parametrize(
    ("function", "n"),
    [pytest.param("_put", 3, marks=pytest.mark.gate), ("steps", 8), ("wait", 6), ("_log_metrics", 14)],
)
def test_a_kill_just_as_a_checkpoint_was_written(arguments, undisturbed, tmp_home, function, n):
    """While its digest is written, when it is and older ones are looked for, at the next one, and between figures."""
    assert run_until(n, function, **arguments) == -signal.SIGKILL
    assert run_until(0, **arguments) == 0
    check(arguments, undisturbed, tmp_home)


def test_kills_at_any_line(arguments, undisturbed, tmp_home):
    draw = random.Random()
    lines = [draw.randrange(1, 1500) for _ in range(RANDOM_KILLS)]
    for n in lines:
        run_until(n, **arguments)
    assert run_until(0, **arguments) == 0
    check(arguments, undisturbed, tmp_home)
