"""Fixtures that several test files share; what a test alone needs is in its own file."""

import gc
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from flows.environment import prepare
from flows.profile import Profile, load_profile
from flows.terminal import say_less
from storage.local.home import mlflow_database

if TYPE_CHECKING:
    from tasks.evaluation.workers import MeasuringPool
    from tasks.ingest.workers import Workers

# Set before any test imports Prefect or MLflow: nothing a developer has set up is read or written.
SESSION_HOME = Path(tempfile.mkdtemp(prefix="vidrd-tests-"))
for elsewhere in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL", "PREFECT_HOME", "PREFECT_PROFILE", "RAY_ADDRESS"):
    os.environ.pop(elsewhere, None)
os.environ["VIDRD_HOME"] = str(SESSION_HOME)
os.environ["PREFECT_PROFILES_PATH"] = str(SESSION_HOME / "profiles.toml")
prepare()

# Of a property that says no number itself; what damaged inputs find is tried 20,000 times by `make fuzz`.
settings.register_profile("fast", max_examples=25)
settings.load_profile("fast")

# The files that take longest, in the order in which the processes of xdist take them: one that a process begins late
# keeps the others waiting for it.
LONGEST_FIRST = [
    "test_training_engine",
    "test_cli",
    "test_surroundings",
    "test_metrics_c3d",
    "test_pipeline",
    "test_lockstep",
    "test_registry",
    "test_sampling",
    "test_ingest_thresholds",
    "test_lora",
    "test_outputs",
    "test_memory_options",
    "test_clips_from_params",
    "test_retrain",
    "test_evaluation_evaluate",
    "test_ingest_reconcile",
    "test_up_stuck_runs",
    "test_up_keeper",
]


_SERVERS = ("prefect_session", "ray_session")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Gives each file to one process of xdist, and all that need Ray, or Prefect, to the same: it starts them once."""
    if not hasattr(config, "workerinput"):
        return
    groups = {item.path: item.path.stem for item in items}
    for server in _SERVERS:
        for item in items:
            if server in getattr(item, "fixturenames", ()) and not item.get_closest_marker("slow"):
                groups[item.path] = server
    for item in items:
        item.add_marker(pytest.mark.xdist_group(groups[item.path]))
    order = {name: number for number, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: (groups[item.path] not in _SERVERS, order.get(item.path.stem, len(order))))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuses to begin where xdist did not hear of the groups: all that is to be started once would be twice."""
    config = session.config
    gc.freeze()  # hundreds of thousands of objects of libraries, which stay: the collector need not visit them
    is_grouped = hasattr(config, "workerinput") and config.getoption("loadgroup")
    if is_grouped and session.items and "@" not in session.items[0].nodeid:
        raise pytest.UsageError("this pytest and this xdist do not agree on the names of groups")


def pytest_unconfigure() -> None:
    gc.unfreeze()  # else libraries tell at the end of what is left
    shutil.rmtree(SESSION_HOME, ignore_errors=True)


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """What a command that a test gave in this process was told to keep to itself, the next one tells again."""
    yield
    say_less(quiet=False, json=False)


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """One Ray session for all tests, because starting one takes 5 to 12 s."""
    from tasks.cluster import ensure_ray, shutdown_ray

    ensure_ray(num_cpus=4)
    yield
    shutdown_ray()


@pytest.fixture(scope="session")
def workers_on_ray(tiny_profile: Profile, ray_session: None) -> "Iterator[Workers]":
    """One scoring actor for all builds with the profile's models, because starting one takes a quarter of a minute."""
    from tasks.ingest.recipe import Digests
    from tests.build_world import RayWorkers

    recipe = tiny_profile.recipe()
    with RayWorkers(recipe, Digests.of(recipe)) as workers:
        yield workers


@pytest.fixture(scope="session")
def workers(tiny_profile: Profile) -> "Iterator[Workers]":
    """The models in this process and decoders beside it, for all builds whose subject is not where they run."""
    from tasks.ingest.recipe import Digests
    from tests.build_world import LocalWorkers

    recipe = tiny_profile.recipe()
    with LocalWorkers(recipe, Digests.of(recipe)) as workers:
        yield workers


@pytest.fixture(scope="session")
def measuring_pool() -> "Iterator[MeasuringPool]":
    """The workers of an evaluation of few videos: this process."""
    from tasks.evaluation.workers import MeasuringPool

    with MeasuringPool(videos=1) as pool:
        yield pool


@pytest.fixture(scope="session")
def prefect_session() -> Iterator[None]:
    """One Prefect server with a database of its own for all tests, because starting one takes 15 s."""
    from prefect.testing.utilities import prefect_test_harness

    from flows.runs.prefect_access import sign_in

    sign_in()  # as every command does, so that it is the server of a command
    with pytest.MonkeyPatch.context() as patch:
        # An event can be read as soon as it has come: the five seconds that a server collects them are waited in vain.
        patch.setenv("PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL", "0.2")
        with prefect_test_harness(server_startup_timeout=300):
            yield


@pytest.fixture(scope="session")
def tiny_profile() -> Profile:
    """The embedded profile; its models are read where they ship."""
    return load_profile("tiny")


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory, tiny_profile: Profile) -> Path:
    """The tiny model with a UNet so narrow that a training step takes milliseconds."""
    from tests.training_dataset import write_small_model

    return write_small_model(tmp_path_factory.mktemp("model") / "m", tiny_profile.model)


@pytest.fixture(scope="session")
def training_clips(tmp_path_factory: pytest.TempPathFactory, tiny_profile: Profile) -> Path:
    """A finished dataset of 12 drawn clips and an image to train on and 8 held out."""
    from tests.training_dataset import write_training_dataset

    return write_training_dataset(tmp_path_factory.mktemp("clips") / "d", Path(tiny_profile.model), 12, 8, 1)


@pytest.fixture
def tmp_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty `$VIDRD_HOME` for one test."""
    home = tmp_path / "home"
    monkeypatch.setenv("VIDRD_HOME", str(home))
    return home


@pytest.fixture(scope="session")
def new_mlflow_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database as MLflow makes it, to be copied, because making one takes seconds."""
    from storage.registry.names import CHAMPION
    from storage.registry.registry import Registry

    database = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    assert Registry(f"sqlite:///{database}").alias_version(CHAMPION) is None
    return database


@pytest.fixture
def registry_home(tmp_home: Path, new_mlflow_database: Path) -> Path:
    """A `$VIDRD_HOME` for one test that holds a registry without models."""
    mlflow_database().parent.mkdir(parents=True)
    shutil.copyfile(new_mlflow_database, mlflow_database())
    return tmp_home


@pytest.fixture
def add_candidate(registry_home: Path, tmp_path: Path) -> Callable[..., int]:
    """Registers a version with the rows of an evaluation, as `evaluate` leaves them, or without."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model_index.json").write_text("{}")

    def add(
        quality: float | None, seed: int = 0, n: int = 40, setup: str = "s", profile: str = "tiny"
    ) -> int:
        """`quality` 1 is that of the real clips, 0 a model far from them; None is no evaluation."""
        from storage.registry.registry import Registry
        from tests.evaluation_rows import record_rows, rows

        registry = Registry()
        with registry.start_run("test") as run:
            version = registry.register(Path(folder), run, {"profile": profile})
        if quality is not None:
            features = rows(n, shift=2 * (1 - quality), text=0.2 + 0.1 * quality, seed=seed)
            record_rows(registry, version, features, setup)
        return version

    return add


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """A real S3 server on the loopback."""
    import logging

    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an empty bucket; fsspec's file systems are made anew, with the test's environment."""
    import fsspec
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    s3fs.S3FileSystem.clear_instance_cache()
    fs = fsspec.filesystem("s3")
    fs.mkdir("bucket")
    yield "s3://bucket"
    fs.rm("bucket", recursive=True)
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of goldens and real media beside the project; tests that need it skip without it."""
    shared = Path(__file__).resolve().parents[1].parent / "shared"
    if not shared.is_dir():
        pytest.skip(f"no shared material at {shared}")
    return shared
