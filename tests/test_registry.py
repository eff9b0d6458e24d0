"""Attacks the registry: aliases, figures and folders come back as they went in, on SQLite and on a server."""

import math
import socket
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.errors import StorageError
from storage.registry.evaluations import evaluation_history
from storage.registry.names import CANDIDATE, CHAMPION, REFERENCE_TAG
from storage.registry.registry import Registry, resolve_model
from storage.registry.runs import NOT_FINITE_TAG, Run, as_ranges, steps_of
from tests.evaluation_rows import newest_metrics
from tests.saved_settings import with_saved_settings


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "some" / "model"
    (folder / "unet").mkdir(parents=True)
    (folder / "model_index.json").write_text("{}")
    (folder / "unet" / "config.json").write_text('{"a": 1}')
    return folder


def register(registry: Registry, folder: Path, **tags: str) -> int:
    with registry.start_run("test") as run:
        return registry.register(folder, run, tags)


def test_a_registered_folder_is_found_by_alias_and_by_number(registry_home, model_folder):
    registry = Registry()
    version = register(registry, model_folder, dataset="d")
    assert registry.alias_version(CANDIDATE) == version == 1
    assert registry.version_tags(version) == {"dataset": "d"}
    for ref in (f"models:/vidrd@{CANDIDATE}", "models:/vidrd/1"):
        found = resolve_model(ref)
        assert (found.ref, found.version, found.tags) == (ref, 1, {"dataset": "d"})
        assert (found.folder / "unet" / "config.json").read_text() == '{"a": 1}'
    assert registry_home in found.folder.parents  # and not in the working directory
    assert resolve_model(model_folder).folder == model_folder


def test_aliases_move(registry_home, model_folder):
    registry = Registry()
    first, second = register(registry, model_folder), register(registry, model_folder)
    assert registry.alias_version(CANDIDATE) == second
    assert registry.alias_version(CHAMPION) is None
    for version in (first, second):
        registry.set_alias(CHAMPION, version)
        assert resolve_model(f"models:/vidrd@{CHAMPION}").version == version


def test_what_a_run_logs_can_be_read_back(registry_home, tmp_path):
    registry = Registry()
    curve = [(step, 1 / (step + 1)) for step in range(2500)]  # more than one call takes
    with registry.start_run("test", {"kind": "x"}) as run:
        run.log_params({"temporal": {"lr": 1e-4, "sizes": [1, 2]}, "seed": 3})
        run.log_metrics([(step, {"loss": value}) for step, value in curve])
        run.log_bytes("samples/step-000200/a.mp4", b"first")
        run.log_bytes("samples/step-000200/a.mp4", b"again")
        run.log_bytes("note.txt", b"hello")
    data = registry.client.get_run(run.run_id).data
    assert data.params == {"temporal.lr": "0.0001", "temporal.sizes": "[1, 2]", "seed": "3"}
    assert data.tags["kind"] == "x" and data.tags["git_commit"]
    history = registry.client.get_metric_history(run.run_id, "loss")
    assert sorted((point.step, point.value) for point in history) == curve
    assert {file.path for file in registry.client.list_artifacts(run.run_id)} == {"note.txt", "samples"}
    kept = registry.client.download_artifacts(run.run_id, "samples/step-000200/a.mp4", str(tmp_path))
    assert Path(kept).read_bytes() == b"again"


def stored_metrics(home: Path, run_id: str) -> dict[tuple[str, int], list[tuple[float, int]]]:
    """What MLflow's database holds of a run: for each name and step its values, with whether they are NaN."""
    with closing(sqlite3.connect(home / "mlflow" / "mlflow.db")) as database:
        rows = database.execute("SELECT key, step, value, is_nan FROM metrics WHERE run_uuid = ?", (run_id,))
        found: dict[tuple[str, int], list[tuple[float, int]]] = {}
        for name, step, value, is_nan in rows:
            found.setdefault((name, step), []).append((value, is_nan))
        return found


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.lists(
            st.tuples(
                st.integers(0, 12),
                st.dictionaries(st.sampled_from(["loss", "temporal.lr"]), st.floats(), max_size=2),
            ),
            max_size=8,
        ),
        max_size=4,
    )
)
def test_only_finite_figures_reach_mlflow_each_step_once_and_the_others_are_named(registry_home, sessions):
    """Figures in any order, in several processes: the first finite one of a step stays."""
    registry = Registry()
    with registry.start_run("retrain") as run:
        pass
    first: dict[tuple[str, int], float] = {}
    bad: dict[str, set[int]] = {}
    for points in sessions:
        with registry.start_run("retrain", run_id=run.run_id) as again:
            again.log_metrics(points)
            again.log_metrics(points)
        for step, figures in points:
            for name, value in figures.items():
                if math.isfinite(value):
                    first.setdefault((name, step), value)
                else:
                    bad.setdefault(name, set()).add(step)
    stored = stored_metrics(registry_home, run.run_id)
    assert stored == {key: [(value, 0)] for key, value in first.items()}
    tags = registry.client.get_run(run.run_id).data.tags
    named = {name: steps_of(text) for name, text in tags.items() if name.startswith(NOT_FINITE_TAG)}
    assert named == {f"{NOT_FINITE_TAG}{name}": steps for name, steps in bad.items()}


@given(st.sets(st.integers(0, 5000), min_size=1, max_size=800))
def test_steps_are_named_in_ranges_that_can_be_read_again(steps):
    text = as_ranges(steps)
    assert len(text) <= 1010
    assert steps_of(text) == {step for step in steps if step <= max(steps_of(text))}
    assert text.endswith("...") or steps_of(text) == steps


def test_figures_whose_logging_seemed_to_fail_are_not_logged_twice(registry_home):
    """MLflow took them, and its answer was lost: here another process is what MLflow got of the call."""
    registry = Registry()

    def rename(old: str, new: str) -> None:
        with closing(sqlite3.connect(registry_home / "mlflow" / "mlflow.db")) as database:
            database.execute(f"ALTER TABLE {old} RENAME TO {new}")

    points = [(step, {"loss": float(step)}) for step in range(5)]
    with registry.start_run("retrain") as run:
        rename("metrics", "away")
        with pytest.raises(StorageError):
            run.log_metrics(points)
        rename("away", "metrics")
        Run(run.run_id, registry.client, registry.uri).log_metrics(points[:3])
        run.log_metrics(points)
    stored = stored_metrics(registry_home, run.run_id)
    assert stored == {("loss", step): [(float(step), 0)] for step in range(5)}


def test_a_run_that_raises_is_marked_failed(registry_home):
    registry = Registry()
    with pytest.raises(ZeroDivisionError), registry.start_run("test") as run:
        _ = 1 / 0
    assert registry.client.get_run(run.run_id).info.status == "FAILED"


def test_a_run_left_open_goes_on_where_it_stopped(registry_home):
    """What a killed process leaves: a run that MLflow believes to be running."""
    registry = Registry()
    with registry.start_run("retrain", {"kind": "x"}) as first:
        first.log_params({"seed": 3, "num_workers": 2})
        first.log_metrics([(step, {"loss": 1.0, "lr": 0.1}) for step in range(1, 11)])
        first.log_metrics([(step, {"loss": 1.0}) for step in range(11, 15)])
    registry.client.update_run(first.run_id, status="RUNNING")
    with registry.start_run("retrain", run_id=first.run_id) as second:
        assert registry.run_status(first.run_id) == "RUNNING" and second.run_id == first.run_id
        second.log_params({"seed": 3, "num_workers": 4, "batch": 8})
        # Resumed from the checkpoint of step 8: what follows it comes again, and then more.
        second.log_metrics([(step, {"loss": 2.0, "lr": 0.2}) for step in range(9, 21)])
        second.log_metrics([(step, {"loss": 3.0}) for step in range(15, 22)])
    data = registry.client.get_run(first.run_id).data
    assert data.params == {"seed": "3", "num_workers": "2", "batch": "8"} and data.tags["kind"] == "x"
    assert registry.run_status(first.run_id) == "FINISHED"
    losses, rates = (registry.client.get_metric_history(first.run_id, name) for name in ("loss", "lr"))
    assert [point.step for point in losses] == list(range(1, 22))
    assert [point.value for point in losses] == [1.0] * 14 + [2.0] * 6 + [3.0]
    assert [point.value for point in rates] == [0.1] * 10 + [0.2] * 10


def test_a_run_that_is_gone_has_no_status_and_an_abandoned_one_is_killed(registry_home):
    registry = Registry()
    assert registry.run_status("0" * 32) is None
    registry.end_run("0" * 32)
    with registry.start_run("retrain") as run:
        pass
    registry.client.update_run(run.run_id, status="RUNNING")
    registry.end_run(run.run_id)
    assert registry.run_status(run.run_id) == "KILLED"
    registry.client.delete_run(run.run_id)
    assert registry.run_status(run.run_id) is None


def test_finished_trainings_are_those_of_the_dataset_and_profile(registry_home):
    registry = Registry()

    def train(tag: str, dataset: str = "/data/it's", profile: str = "tiny", name: str = "retrain") -> None:
        with registry.start_run(name, {"dataset": dataset, "profile": profile, "dataset_tag": tag}):
            pass

    assert registry.finished_trainings("/data/it's", "tiny") == []
    train("build-0001")
    train("build-0002")
    train("build-0007", dataset="/data")
    train("build-0007", profile="sd21")
    train("build-0007", name="evaluate")
    with pytest.raises(ZeroDivisionError), registry.start_run("retrain") as run:
        run.set_tags({"dataset": "/data/it's", "profile": "tiny", "dataset_tag": "build-0007"})
        _ = 1 / 0
    found = registry.finished_trainings("/data/it's", "tiny")
    assert [tags["dataset_tag"] for tags in found] == ["build-0002", "build-0001"]
    run_id = registry.client.search_runs(["1"], "tags.dataset_tag = 'build-0002'")[0].info.run_id
    with registry.start_run("retrain", {"dataset_tag": "build-0003"}, run_id):
        pass
    found = registry.finished_trainings("/data/it's", "tiny")
    assert [tags["dataset_tag"] for tags in found] == ["build-0003", "build-0001"]


def test_a_run_registers_its_model_once(registry_home, model_folder):
    registry = Registry()
    with registry.start_run("retrain") as run:
        version = registry.register(model_folder, run, {}, description="what it is")
    registry.client.update_run(run.run_id, status="RUNNING")
    with registry.start_run("retrain", run_id=run.run_id) as again:
        assert registry.register(model_folder, again, {}) == version
    assert registry.client.get_model_version("vidrd", str(version)).description == "what it is"
    assert register(registry, model_folder) == version + 1


def test_an_old_training_that_goes_on_takes_no_newer_one_its_place(registry_home, model_folder):
    """It is the candidate again only where it would have been, had it not been cut off before it said so."""
    registry = Registry()
    with registry.start_run("retrain") as run:
        old = registry.register(model_folder, run, {})

    def go_on() -> None:
        registry.client.update_run(run.run_id, status="RUNNING")
        with registry.start_run("retrain", run_id=run.run_id) as again:
            assert registry.register(model_folder, again, {}) == old

    registry.client.delete_registered_model_alias("vidrd", CANDIDATE)
    go_on()
    assert registry.alias_version(CANDIDATE) == old
    newer = register(registry, model_folder)
    go_on()
    assert registry.alias_version(CANDIDATE) == newer > old


def test_version_metrics_are_the_newest_and_no_training_loss(registry_home, model_folder):
    registry = Registry()
    with registry.start_run("test") as run:
        run.log_metrics([(0, {"loss": 2.0}), (1, {"loss": 1.0})])
        version = registry.register(model_folder, run, {})
    assert newest_metrics(registry, version) == {}
    registry.log_version_metrics(version, {"fvd.tiny.n8": 12.5, "text_score.tiny.n8": 0.25}, {"n": "8"})
    registry.log_version_metrics(version, {"fvd.tiny.n8": 11.0})
    assert newest_metrics(registry, version) == {"fvd.tiny.n8": 11.0, "text_score.tiny.n8": 0.25}
    assert registry.version_tags(version) == {"n": "8"}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_figure_of_a_version_that_is_not_finite_is_refused_with_all_others(
    registry_home, model_folder, value
):
    registry = Registry()
    with registry.start_run("retrain") as run:
        run.log_metrics([(0, {"loss": value}), (1, {"loss": 1.0})])
        version = registry.register(model_folder, run, {})
    with pytest.raises(StorageError, match="cannot be recorded"):
        registry.log_version_metrics(version, {"fvd.tiny.n8": 1.0, "kvd.tiny.n8": value})
    assert newest_metrics(registry, version) == {}
    with closing(sqlite3.connect(registry_home / "mlflow" / "mlflow.db")) as database:
        for table in ("metrics", "logged_model_metrics", "latest_metrics"):
            columns = [column[1] for column in database.execute(f"PRAGMA table_info({table})")]
            name = "value" if "value" in columns else "metric_value"
            found = database.execute(f"SELECT {name} FROM {table}").fetchall()
            assert set(found) <= {(1.0,)}, table


@pytest.mark.parametrize(
    ("ref", "said"),
    [
        ("models:/vidrd@champion", "no model has the alias 'champion'"),
        ("models:/vidrd/7", "no such version"),
        ("models:/other@champion", "not a model reference"),
        ("models:/vidrd", "not a model reference"),
        ("nowhere/model", "no model_index.json"),
    ],
)
def test_a_reference_to_nothing_is_one_line(registry_home, ref, said):
    with pytest.raises(StorageError) as caught:
        resolve_model(ref)
    assert said in str(caught.value) and ref in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_server_that_is_not_there_is_one_line(tmp_home, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{_free_port()}")
    with pytest.raises(StorageError) as caught:
        resolve_model("models:/vidrd@champion")
    assert str(caught.value).startswith("MLflow at http://127.0.0.1") and "\n" not in str(caught.value)


def test_no_password_of_an_address_is_told_or_recorded(registry_home, monkeypatch, model_folder):
    registry = Registry()
    address = "s3://key:hunter2@bucket/x"
    with registry.start_run("retrain", {"dataset": address}) as run:
        version = registry.register(model_folder, run, {"dataset": address}, f"trained on {address}")
        registry.set_version_tags(version, {"reason": address})
        registry.log_version_metrics(version, {"fvd": 1.0}, {"reference": address})
        found = registry.client.get_model_version("vidrd", str(version))
        assert "hunter2" not in str(registry.client.get_run(run.run_id).data.tags)
        assert (
            "hunter2" not in f"{found.tags} {found.description}" and "s3://***@bucket/x" in found.description
        )
        run.log_params({"checkpoints": {"place": "s3://key:hunter2@bucket/x"}})
        run.set_tags({"dataset": "sftp://me:hunter2@host/d"})
        data = registry.client.get_run(run.run_id).data
    assert data.params["checkpoints.place"] == "s3://***@bucket/x"
    assert data.tags["dataset"] == "sftp://***@host/d"
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:hunter2@127.0.0.1:{_free_port()}")
    with pytest.raises(StorageError) as caught:
        resolve_model("models:/vidrd@champion")
    assert str(caught.value).startswith("MLflow at http://***@127.0.0.1") and "hunter2" not in str(
        caught.value
    )


def test_a_version_loads_as_pyfunc_and_makes_videos(registry_home, tmp_path, tiny_profile):
    import mlflow

    saved = {"num_frames": 4, "prompt_frames": 2, "num_inference_steps": 1}
    register(Registry(), with_saved_settings(Path(tiny_profile.model), tmp_path / "model", saved))
    model = mlflow.pyfunc.load_model(f"models:/vidrd@{CANDIDATE}")
    prompts = pd.DataFrame({"prompt": ["a red circle moving left", "a blue square moving up"]})
    frames = model.predict(prompts, params={"num_inference_steps": 2, "num_clips": 2})
    assert frames.shape == (2, 8, 64, 64, 3) and frames.dtype == "uint8"
    # What is not asked for is as it was saved with the model.
    own = model.predict(prompts)
    assert own.shape == (2, 4, 64, 64, 3) and own.dtype == "uint8"
    assert (own == model.predict(prompts, params={"num_inference_steps": 1})).all()
    assert (own != model.predict(prompts, params={"num_inference_steps": 2})).any()


@pytest.mark.slow
def test_the_same_on_a_server_with_one_download(tmp_home, tmp_path, model_folder, mlflow_server, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    registry = Registry()
    assert registry.alias_version(CHAMPION) is None
    version = register(registry, model_folder, dataset="d")
    with registry.start_run("retrain") as run:
        run.log_metrics([(0, {"loss": math.inf}), (1, {"loss": 2.0}), (2, {"loss": math.nan})])
    history = registry.client.get_metric_history(run.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(1, 2.0)]
    assert registry.client.get_run(run.run_id).data.tags[f"{NOT_FINITE_TAG}loss"] == "0, 2"
    registry.log_version_metrics(version, {"fvd.tiny.n8": 12.5}, {"n": "8", REFERENCE_TAG: "r" * 32})
    assert newest_metrics(registry, version) == {"fvd.tiny.n8": 12.5}
    assert [(p.setup, p.value, p.reference) for p in evaluation_history(registry)] == [
        ("tiny.n8", 12.5, "r" * 32)
    ]
    found = resolve_model(f"models:/vidrd@{CANDIDATE}")
    assert found.folder.is_relative_to(tmp_home / "models")
    assert (found.folder / "unet" / "config.json").read_text() == '{"a": 1}'
    (found.folder / "mark").touch()  # a second download would not have it
    assert (resolve_model("models:/vidrd/1").folder / "mark").exists()
    with pytest.raises(StorageError, match="alias 'champion'"):
        resolve_model("models:/vidrd@champion")


@pytest.fixture
def mlflow_server(tmp_path: Path):
    address = f"http://127.0.0.1:{_free_port()}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
    command += ["--port", address.rpartition(":")[2], "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{tmp_path}/server.db"]
    command += ["--artifacts-destination", str(tmp_path / "server-artifacts")]
    log = (tmp_path / "server.log").open("w")
    with log, subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log) as server:
        try:
            _wait_until_healthy(server, address)
            yield address
        finally:
            server.terminate()


def _wait_until_healthy(server: subprocess.Popen, address: str, timeout_s: float = 180) -> None:
    from threading import Event
    from time import monotonic

    deadline_s = monotonic() + timeout_s
    while monotonic() < deadline_s and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            Event().wait(0.5)
    raise RuntimeError(f"the MLflow server did not start (exit code {server.poll()})")


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
