"""Secrets of our servers: made once, whoever asks first, and never to be seen by others, not even for a moment."""

import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from storage.errors import StorageError
from storage.local.secret_files import known_secret, secret, secrets_dir, write_private


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_secret_is_made_once_for_this_user_alone(tmp_home):
    assert known_secret("prefect") is None
    made = secret("prefect")
    assert len(made) >= 40
    assert secret("prefect") == known_secret("prefect") == made
    assert secret("mlflow") != made
    assert _mode(tmp_home / "secrets") == 0o700
    assert _mode(tmp_home / "secrets" / "prefect") == 0o600


def test_of_many_that_ask_first_all_get_the_same(tmp_home):
    with ThreadPoolExecutor(16) as threads:
        given = set(threads.map(lambda _: secret("prefect"), range(64)))
    assert len(given) == 1
    assert [path.name for path in secrets_dir().iterdir()] == ["prefect"]


def test_a_file_is_private_from_its_first_byte_whatever_the_umask(tmp_home, monkeypatch):
    folder = secrets_dir()
    seen: list[tuple[int, int]] = []
    real = os.fsync

    def look(descriptor: int) -> None:
        seen.extend((_mode(path), path.stat().st_size) for path in folder.iterdir())
        real(descriptor)

    monkeypatch.setattr("storage.local.secret_files.os.fsync", look)
    before = os.umask(0)
    try:
        write_private(folder / "a", "x" * 10_000)
    finally:
        os.umask(before)
    assert seen and {mode for mode, _ in seen} == {0o600}
    assert _mode(folder / "a") == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_secret_that_others_may_read_is_refused_by_name(tmp_home, mode):
    secret("prefect")
    path = tmp_home / "secrets" / "prefect"
    path.chmod(mode)
    with pytest.raises(StorageError, match=rf"{path}: it is not this user's alone \(mode {mode:o}"):
        secret("prefect")


def test_a_folder_that_others_may_enter_is_refused_by_name(tmp_home):
    secret("prefect")
    (tmp_home / "secrets").chmod(0o755)
    with pytest.raises(StorageError, match="secrets: it is not this user's alone"):
        secret("other")


def test_an_empty_secret_is_no_secret(tmp_home):
    (secrets_dir() / "prefect").touch(0o600)
    with pytest.raises(StorageError, match="the secret is empty; delete the file"):
        secret("prefect")


DATABASES = """
import sys
from flows.environment import prepare
prepare()
from prefect.client.orchestration import get_client
from flows.runs.prefect_access import sign_in
sign_in()
with get_client(sync_client=True) as client:
    client.read_flows()
from storage.registry.registry import Registry
Registry().alias_version("champion")
"""


@pytest.mark.slow
@pytest.mark.parametrize("there", [False, True], ids=["new home", "home of an earlier version"])
def test_the_databases_are_for_this_user_alone(tmp_home, there):
    """Prefect's keeps the key of its secret blocks beside them, MLflow's the keys of its gateway."""
    if there:
        (tmp_home / "prefect").mkdir(parents=True, mode=0o755)
        (tmp_home / "prefect").chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    done = subprocess.run([sys.executable, "-c", DATABASES], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    databases = [path for path in tmp_home.rglob("*.db*") if path.is_file()]
    assert {path.name for path in databases} >= {"prefect.db", "mlflow.db"}
    for path in databases:
        assert _mode(path) & 0o077 == 0 or _mode(path.parent) & 0o077 == 0, path
