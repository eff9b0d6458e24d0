"""Odd surroundings: proxies, no home, no name, long folders, databases and stores that are away."""

import importlib.util
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from flows.environment import let_loopback_pass
from flows.surroundings import check_prefect_database, check_surroundings
from storage.errors import StorageError
from storage.local.databases import check_database
from storage.registry.registry import Registry

ROOT = Path(__file__).resolve().parents[1]
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize("proxy", ["http_proxy", "HTTPS_PROXY", "ALL_PROXY"])
@pytest.mark.parametrize(
    ("variable", "before", "after"),
    [
        (None, None, "127.0.0.1,localhost"),
        ("NO_PROXY", "corp.example", "corp.example,127.0.0.1,localhost"),
        ("no_proxy", "localhost, .corp", "localhost,.corp,127.0.0.1"),
        ("NO_PROXY", "*", "*"),
    ],
)
def test_a_proxy_is_passed_by_on_the_loopback_and_nowhere_else(
    proxy, variable, before, after, no_proxies, monkeypatch
):
    import urllib.request

    monkeypatch.setenv(proxy, "http://proxy.example:3128")
    if variable:
        monkeypatch.setenv(variable, before)
    let_loopback_pass()
    assert os.environ["no_proxy"] == os.environ["NO_PROXY"] == after
    let_loopback_pass()
    assert os.environ["no_proxy"] == after
    assert urllib.request.proxy_bypass("127.0.0.1") and urllib.request.proxy_bypass("localhost")
    assert before == "*" or not urllib.request.proxy_bypass("s3.amazonaws.com")


def test_without_a_proxy_nothing_is_set(no_proxies):
    let_loopback_pass()
    assert "no_proxy" not in os.environ and "NO_PROXY" not in os.environ


def _check_all() -> None:
    """As `vidrd up` asks, which starts a Prefect server too."""
    check_surroundings()
    check_prefect_database()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real PostgreSQL on the loopback with the user `vidrd`, password `right`; its host and port."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    found = shutil.which("initdb")
    if not programs and not found:
        pytest.skip("there is no PostgreSQL server on this machine")
    bin_dir = programs[-1] if programs else Path(found).resolve().parent
    folder = Path("/tmp") / f"vidrd-postgres-{os.getpid()}"  # its socket's path has to be short
    folder.mkdir()
    user: dict = {}
    if os.getuid() == 0:  # PostgreSQL refuses to run as root
        shutil.chown(folder, "postgres")
        user = {"user": "postgres", "cwd": "/"}
    (folder / "password").write_text("right")
    data, port = folder / "data", _free_port()
    if user:
        shutil.chown(folder / "password", "postgres")
    make = [
        bin_dir / "initdb",
        "-D",
        data,
        "-U",
        "vidrd",
        "-A",
        "scram-sha-256",
        "--pwfile",
        folder / "password",
    ]
    subprocess.run([*map(str, make)], check=True, capture_output=True, **user)
    start = [bin_dir / "pg_ctl", "-D", data, "-w", "-l", folder / "log"]
    options = f"-p {port} -c listen_addresses=127.0.0.1 -k {folder}"
    subprocess.run([*map(str, start), "-o", options, "start"], check=True, stdout=subprocess.DEVNULL, **user)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        stop = [*map(str, start), "-m", "immediate", "stop"]
        subprocess.run(stop, check=True, stdout=subprocess.DEVNULL, **user)
        shutil.rmtree(folder)


VARIABLES = [
    ("MLFLOW_TRACKING_URI", "postgresql"),
    ("MLFLOW_TRACKING_URI", "postgresql+psycopg2"),
    ("PREFECT_API_DATABASE_CONNECTION_URL", "postgresql+asyncpg"),
    ("PREFECT_SERVER_DATABASE_CONNECTION_URL", "postgresql+asyncpg"),
]


@pytest.mark.parametrize(("variable", "scheme"), VARIABLES)
def test_a_database_that_answers_is_used(variable, scheme, postgres, monkeypatch):
    monkeypatch.setenv(variable, f"{scheme}://vidrd:right@{postgres}/postgres")
    _check_all()


@pytest.mark.parametrize(("variable", "scheme"), VARIABLES)
@pytest.mark.parametrize("database", ["postgres", "nothing"])
def test_a_database_that_refuses_us_is_named_without_the_password(
    variable, scheme, database, postgres, monkeypatch
):
    password = "wrong-secret" if database == "postgres" else "right"
    monkeypatch.setenv(variable, f"{scheme}://vidrd:{password}@{postgres}/{database}")
    with pytest.raises(StorageError) as caught:
        _check_all()
    told = str(caught.value)
    assert told.startswith(f"{variable}: {scheme}://{postgres}/{database} cannot be used: ")
    assert "wrong-secret" not in told and "right@" not in told and "\n" not in told


@pytest.mark.parametrize(("variable", "scheme"), VARIABLES)
def test_a_database_that_is_down_is_named(variable, scheme, monkeypatch):
    address = f"127.0.0.1:{_free_port()}"
    monkeypatch.setenv(variable, f"{scheme}://vidrd:secret@{address}/mlflow")
    with pytest.raises(
        StorageError, match=f"{variable}: .*{address}/mlflow cannot be used: .*refused"
    ) as caught:
        _check_all()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(("variable", "scheme"), VARIABLES)
def test_a_driver_that_is_missing_is_named(variable, scheme, monkeypatch):
    driver = "asyncpg" if "asyncpg" in scheme else "psycopg2"
    monkeypatch.setitem(sys.modules, driver, None)  # what an import of something not installed does
    monkeypatch.setenv(variable, f"{scheme}://vidrd:secret@127.0.0.1:1/mlflow")
    with pytest.raises(
        StorageError, match=f"{variable}: .* needs the driver {driver}, which is not installed"
    ):
        _check_all()


@pytest.mark.parametrize(
    ("database", "command"), [("mlflow/mlflow.db", "promote"), ("prefect/prefect.db", "up")]
)
def test_a_damaged_file_of_a_database_is_named_before_work(database, command, tmp_home, monkeypatch):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_home / "prefect"))
    path = tmp_home / database
    path.parent.mkdir(parents=True)
    _check_all()  # yet to be made
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE runs (name TEXT)")
    _check_all()
    path.write_bytes(b"\0" * 4096 + path.read_bytes()[4096:])
    with pytest.raises(StorageError) as refused:
        _check_all()
    line = str(refused.value)
    assert line.startswith(f"{path}: not a database") and "copy" in line and "\n" not in line
    ended = subprocess.run(
        [sys.executable, "-m", "flows.cli", command], cwd=ROOT, capture_output=True, text=True
    )
    assert (ended.returncode, ended.stderr) == (2, f"error: {line}\n")


def test_damage_that_shows_late_is_one_line_too(tmp_home):
    """The first pages are whole: what is wrong comes out when MLflow reads its tables."""
    assert Registry().alias_version("champion") is None
    path = tmp_home / "mlflow" / "mlflow.db"
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    ended = subprocess.run(
        [sys.executable, "-m", "flows.cli", "promote"], cwd=ROOT, capture_output=True, text=True
    )
    assert ended.returncode == 2 and ended.stderr.count("\n") == 1
    assert ended.stderr.startswith("error: ") and str(path) in ended.stderr


def test_an_artifact_root_that_cannot_be_written_is_found_out_first(registry_home, tmp_path):
    registry = Registry()
    registry.check_artifacts()
    left = [path for path in registry_home.rglob("*write-check*") if path.is_file()]
    assert not left
    root = registry_home / "mlflow" / "artifacts"
    shutil.rmtree(root, ignore_errors=True)
    root.write_text("in the way")
    with pytest.raises(StorageError, match=f"MLflow: files cannot be kept at file://{root}: "):
        registry.check_artifacts()


def test_an_artifact_root_in_a_bucket_that_is_away_is_found_out_first(registry_home, s3, monkeypatch):
    from mlflow import MlflowClient

    from storage.local.home import mlflow_uri

    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", os.environ["AWS_ENDPOINT_URL"])
    registry = Registry()
    client = MlflowClient(mlflow_uri(), mlflow_uri())
    client.create_experiment("vidrd", artifact_location=f"{s3}/artifacts")
    registry.check_artifacts()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")  # of a user who waits for the others in vain
    with pytest.raises(StorageError, match="MLflow: files cannot be kept at s3://bucket/artifacts: "):
        registry.check_artifacts()


def _generate(
    tmp_path: Path, user: int | None = None, within: list[str] | None = None, **environment: str | None
) -> subprocess.CompletedProcess[str]:
    """A video made by the command, in a place and an environment of its own."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    asked = {"PYTHONPATH": str(ROOT), **environment}
    environment_of_child = {name: value for name, value in (inherited | asked).items() if value is not None}
    command = [sys.executable, "-m", "flows.cli", "generate", "a red circle moving right", "--clips=1"]
    return subprocess.run(
        [*(within or []), *command, f"--out={tmp_path}/out.mp4"],
        env=environment_of_child,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        **({} if user is None else {"user": user, "group": user, "extra_groups": []}),
    )


@pytest.mark.parametrize(
    ("address", "shown", "driver"),
    [
        ("mysql://me:hunter2@db/mlflow", "mysql://db/mlflow", "MySQLdb"),
        ("mysql+pymysql://me:hunter2@db:3306/mlflow", "mysql+pymysql://db:3306/mlflow", "pymysql"),
        ("mssql+pymssql://me:hunter2@db/mlflow", "mssql+pymssql://db/mlflow", "pymssql"),
    ],
)
def test_a_driver_of_another_database_that_is_missing_is_one_line(address, shown, driver):
    if importlib.util.find_spec(driver):
        pytest.skip(f"{driver} is installed")
    with pytest.raises(StorageError) as told:
        check_database("MLFLOW_TRACKING_URI", address)
    assert str(told.value) == (
        f"MLFLOW_TRACKING_URI: {shown} needs the driver {driver}, which is not installed; install it with pip"
    )


@pytest.mark.parametrize("address", ["", "sqlite:///mlflow.db", "http://me:x@mlflow.example", "/a/folder"])
def test_what_is_no_address_of_a_database_server_is_left_alone(address):
    check_database("MLFLOW_TRACKING_URI", address)


@pytest.mark.slow
def test_a_long_tmpdir_and_a_proxy_that_is_away_keep_nobody_from_work(tmp_path):
    long = tmp_path / ("a-folder-of-temporary-files-with-quite-a-long-name" * 2)
    long.mkdir()
    done = _generate(
        tmp_path,
        VIDRD_HOME=str(tmp_path / "home"),
        TMPDIR=str(long),
        HTTP_PROXY="http://127.0.0.1:9",
        HTTPS_PROXY="http://127.0.0.1:9",
        http_proxy="http://127.0.0.1:9",
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.mp4").stat().st_size


@pytest.mark.slow
@pytest.mark.parametrize("home", ["home", None])
def test_a_user_without_name_and_home_in_a_read_only_checkout(home, tmp_path):
    """As in a container that runs under any user id: it works, or one line asks for a place to keep things."""
    read_only = f"mount --bind {ROOT} {ROOT} && mount -o remount,bind,ro {ROOT}"
    as_nobody = "exec unshare --user --map-user=54321 --"
    within = ["unshare", "-m", "sh", "-c", f'{read_only} && {as_nobody} "$@"', "sh"]
    if subprocess.run([*within, "true"], capture_output=True).returncode != 0:
        pytest.skip("this machine lets nobody mount, or change the user")
    nobody = {name: None for name in ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME", "XDG_DATA_HOME")}
    done = _generate(tmp_path, within=within, **nobody, VIDRD_HOME=home and str(tmp_path / home))
    if home:
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "out.mp4").stat().st_size
    else:
        assert done.returncode == 2
        assert done.stderr.startswith("error: VIDRD_HOME: this user has no home folder")
        assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_small_dev_shm_keeps_nobody_from_work(tmp_path):
    mount = "mount -t tmpfs -o size=1m tmpfs /dev/shm"
    allowed = subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True)
    if allowed.returncode != 0:
        pytest.skip("this machine lets nobody mount")
    within = ["unshare", "-m", "sh", "-c", f'{mount} && exec "$@"', "sh"]
    done = _generate(tmp_path, within=within, VIDRD_HOME=str(tmp_path / "home"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.mp4").stat().st_size
