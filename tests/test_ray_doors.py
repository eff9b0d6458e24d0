"""Ray's session on this machine: on the loopback, without a dashboard, shut to whoever has not its token."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

STRANGER = """
import sys, ray
try:
    ray.init(address=sys.argv[1], log_to_driver=False, _node_ip_address="127.0.0.1")
except Exception as error:
    print("refused:", type(error).__name__, error)
else:
    print("let in:", ray.nodes())
"""


def _session() -> list[psutil.Process]:
    found = psutil.Process().children(recursive=True)
    names = {process.name() for process in found}
    assert {"raylet", "gcs_server"} <= names, names
    return found


def test_everything_of_ray_listens_on_the_loopback_only(ray_session):
    listening = {
        connection.laddr.ip.removeprefix("::ffff:")  # IPv4's loopback as a socket of IPv6 shows it
        for process in _session()
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


def test_there_is_no_dashboard(ray_session):
    import ray

    assert not ray._private.worker._global_node.webui_url
    for process in _session():
        if any(part.endswith("dashboard.py") for part in process.cmdline()):
            assert "--disable-frontend" in process.cmdline()  # counts use, where that is not switched off


def test_the_token_is_in_no_file_and_no_argument(ray_session):
    token = os.environ["RAY_AUTH_TOKEN"]
    assert os.environ["RAY_AUTH_MODE"] == "token" and len(token) >= 64
    arguments = [part for process in psutil.process_iter() for part in _arguments(process)]
    assert not [part for part in arguments if token in part]


def test_no_other_user_reaches_its_sockets_and_logs(ray_session):
    """Everybody may write to the folders that Ray makes, so one above them has to be shut."""
    import ray

    session = Path(ray._private.worker._global_node.get_session_dir_path())
    assert {path.name for path in (session / "sockets").iterdir()} >= {"plasma_store", "raylet"}
    shut = [folder for folder in session.parents if folder.stat().st_mode & 0o077 == 0]
    assert [folder for folder in shut if folder.stat().st_uid == os.getuid()], session


def _arguments(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


@pytest.mark.slow
@pytest.mark.gate
@pytest.mark.parametrize("mode", ["token", "disabled"])
def test_a_stranger_is_not_let_in(ray_session, mode):
    import ray

    address = ray.get_runtime_context().gcs_address
    environment = os.environ | {"RAY_AUTH_MODE": mode, "RAY_AUTH_TOKEN": "0" * 64}
    done = subprocess.run(
        [sys.executable, "-c", STRANGER, address],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert "let in" not in done.stdout
    assert "refused" in done.stdout or done.returncode != 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.gate
def test_who_is_not_let_in_is_told_how_to_name_a_token(ray_session):
    import ray

    address = ray.get_runtime_context().gcs_address
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    program = "from tasks.cluster import ensure_ray; ensure_ray()"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment | {"RAY_ADDRESS": address, "RAY_AUTH_MODE": "disabled"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    last = done.stderr.strip().splitlines()[-1]
    assert f"RAY_ADDRESS: cannot join {address}" in last and "RAY_AUTH_MODE=token" in last
