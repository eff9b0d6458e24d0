"""Our secrets go to our own servers and to nobody else: what clients send, heard by a server that writes it down."""

import base64
import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from flows.runs.prefect_access import environment
from flows.up.services import announce, client_environment, pages, shell_file, withdraw
from storage.local.secret_files import secret
from storage.local.services import (
    Services,
    announced_services,
    mlflow_sign_in,
    prefect_auth,
    running_services,
)
from storage.registry.mlflow_access import mlflow_client

PREFECT = ("PREFECT_API_AUTH_STRING", "PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_URL")
MLFLOW = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_URI")


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PREFECT + MLFLOW:
        monkeypatch.setenv(name, "")  # so that what the code sets is taken back
        monkeypatch.delenv(name)


class Listener(ThreadingHTTPServer):
    """A server that answers every request with an empty object and keeps the Authorization headers."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.heard: list[str | None] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Listener)
        self.server.heard.append(self.headers["Authorization"])
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def _told(uri: str, listener: Listener) -> set[str | None]:
    """What an MLflow client of that address has sent as its sign-in."""
    listener.heard.clear()
    mlflow_client(uri).search_experiments(max_results=1)
    assert listener.heard
    return set(listener.heard)


def _basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


def _announce(prefect: str, mlflow: str, pid: int | None = None, own_mlflow: bool = True) -> Services:
    services = Services(prefect, mlflow, pid or os.getpid(), own_mlflow)
    announce(services)
    return services


def test_mlflows_password_goes_to_our_server_only(tmp_home, listener):
    with Listener() as ours:
        thread = threading.Thread(target=ours.serve_forever)
        thread.start()
        _announce("http://127.0.0.1:9", ours.address)
        assert _told(ours.address, ours) == {_basic(f"vidrd:{secret('mlflow')}")}
        assert _told(listener.address, listener) == {None}  # in the same process, after it had signed in
        assert _told(ours.address, ours) == {_basic(f"vidrd:{secret('mlflow')}")}
        ours.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "why", ["named by the user", "ended", "its process is dead", "its process is another's"]
)
def test_an_address_that_is_not_ours_any_more_gets_no_password(tmp_home, listener, why):
    dead = os.spawnlp(os.P_NOWAIT, "true", "true")
    os.waitpid(dead, 0)
    pid = {"its process is dead": dead, "its process is another's": _process_of_another()}.get(why)
    services = _announce(listener.address, listener.address, pid, own_mlflow=why != "named by the user")
    if why == "ended":
        withdraw()
    assert mlflow_sign_in(listener.address) == (listener.address, None)
    assert _told(listener.address, listener) == {None}
    if why != "named by the user":
        assert prefect_auth(services.prefect_api) is None
        assert running_services() is None and announced_services() is None


def _process_of_another() -> int | None:
    import psutil

    others = [p.pid for p in psutil.process_iter() if p.uids().real != os.getuid()]
    return others[0] if others else 2**22 + 1


def test_a_shells_password_of_ours_is_dropped_for_another_address(tmp_home, listener, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "vidrd")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", secret("mlflow"))
    assert _told(listener.address, listener) == {None}


def test_the_users_own_password_is_left_alone(tmp_home, listener, monkeypatch):
    secret("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "mine")
    assert _told(listener.address, listener) == {_basic("me:mine")}


def test_a_password_in_mlflows_address_is_used_and_not_shown(tmp_home, listener, capfd):
    import mlflow

    address = listener.address.replace("//", "//me:p%40ss@")
    assert _told(address, listener) == {_basic("me:p@ss")}
    assert mlflow.get_tracking_uri() == listener.address
    assert "p%40ss" not in "".join(capfd.readouterr())


def test_prefects_secret_goes_to_our_server_only(tmp_home, listener, monkeypatch):
    services = _announce(listener.address, "http://127.0.0.1:9")
    auth = f"vidrd:{secret('prefect')}"
    found = {"PREFECT_API_URL": services.prefect_api, "PREFECT_API_AUTH_STRING": auth}
    assert environment(None, False) == found  # found without an export
    assert environment(services.prefect_api, False) == {"PREFECT_API_AUTH_STRING": auth}
    for other in ("http://evil.example/api", f"{listener.address}1/api", f"{listener.address}/api/x"):
        monkeypatch.setenv("PREFECT_API_AUTH_STRING", auth)  # as a shell that was set up for ours has it
        assert environment(other, False) == {}
        assert "PREFECT_API_AUTH_STRING" not in os.environ
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "me:mine")
    assert environment("http://other.example/api", False) == {}
    assert os.environ["PREFECT_API_AUTH_STRING"] == "me:mine"


def test_a_server_of_a_commands_own_gets_a_secret_that_is_in_no_file(tmp_home):
    first, second = environment(None, False), environment(None, False)
    auth = first["PREFECT_SERVER_API_AUTH_STRING"]
    assert auth == first["PREFECT_API_AUTH_STRING"] != second["PREFECT_API_AUTH_STRING"]
    assert len(auth) > 40
    assert not tmp_home.exists()
    assert environment(None, True) == {}  # the user has given it one


def test_what_up_announces_is_for_this_user_and_holds_no_password_of_a_database(tmp_home):
    services = Services("http://127.0.0.1:9", "http://me:hunter2@mlflow.example", os.getpid(), False)
    tmp_home.mkdir(mode=0o755)
    announce(services)
    state = json.loads((tmp_home / "up.json").read_text())
    assert "hunter2" not in str(state) and secret("prefect") not in str(state)
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_home.glob("up.*")} == {
        "up.json": 0o600,
        "up.env": 0o600,
    }
    assert "MLFLOW_TRACKING_PASSWORD" not in client_environment(services)


def test_a_shell_reads_what_it_needs(tmp_home):
    import subprocess

    services = _announce("http://127.0.0.1:9", "http://127.0.0.1:8")
    script = f". '{shell_file()}'; env"
    shown = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
    for name, value in client_environment(services).items():
        assert f"{name}={value}\n" in shown
    withdraw()
    assert not shell_file().exists()


def test_links_are_printed_to_a_terminal_and_never_into_a_log(tmp_home, tmp_path: Path):
    services = _announce("http://127.0.0.1:9", "http://127.0.0.1:8")
    with (tmp_path / "log").open("w") as log:
        in_log = "\n".join(pages(services, log))
    assert "token" not in in_log and services.prefect in in_log
    controller, terminal = os.openpty()
    with open(terminal, "w") as screen:
        shown = pages(services, screen)
    os.close(controller)
    assert [line.count("/vidrd-login?token=") for line in shown] == [1, 1]
