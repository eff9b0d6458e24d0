"""The real servers of `vidrd up`: every route attacked, what a fresh shell can do, where the secrets are."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from flows.up.login import Login
from storage.local.secret_files import secret
from tests.served_deployments import ROOT, settings_for, vidrd_up
from tests.server_routes import asgi_routes

pytestmark = [pytest.mark.slow, pytest.mark.gate]
EVIL = "http://evil.example"
STRANGERS = {
    "without the secret": ({}, 401),
    "with a wrong one": ({"authorization": "Basic dmlkcmQ6dmlkcmQ="}, 401),
    "under a stranger's name": ({"host": "evil.example:{port}"}, 403),
    "from a page of another origin": ({"origin": EVIL}, 403),
    "from a page of another port": ({"origin": "http://127.0.0.1:8080"}, 403),
}
AT_ONCE = 32
MLFLOW_ROUTES = """
import json, sys
from storage.registry.mlflow_server import mlflow_application
from tests.server_routes import asgi_routes
print(json.dumps(list(asgi_routes(mlflow_application("http://127.0.0.1:1", sys.argv[1], "file:///nowhere").routes))))
"""


@dataclass(frozen=True)
class Up:
    home: Path
    prefect_api: str
    mlflow: str

    @property
    def prefect(self) -> str:
        return self.prefect_api.removesuffix("/api")

    @property
    def secrets(self) -> dict[str, str]:
        return {name: secret(name) for name in ("prefect", "mlflow", "mlflow-forms")}


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    home = tmp_path_factory.mktemp("doors") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIDRD_HOME", str(home))
        for name in ("PREFECT_API_AUTH_STRING", "PREFECT_SERVER_API_AUTH_STRING"):
            patch.delenv(name, raising=False)
        with vidrd_up(home, patch) as api:
            yield Up(home, api, os.environ["MLFLOW_TRACKING_URI"])


def _attack(address: str, routes: list[tuple[str, str]], open_path: str) -> None:
    port = address.rpartition(":")[2]
    for who, (headers, status) in STRANGERS.items():
        sent = {name: value.format(port=port) for name, value in headers.items()}
        got = asyncio.run(_ask(address, routes, sent))
        answered = {route for route, answer in got.items() if answer.status_code != status}
        allowed = {route for route in routes if route[1] == open_path} if status == 401 else set()
        assert answered <= allowed, f"{who}: {sorted(answered - allowed)[:5]}"
        assert not any("access-control-allow-origin" in answer.headers for answer in got.values()), who
    preflights = asyncio.run(_ask(address, [("OPTIONS", path) for _, path in routes], _PREFLIGHT))
    assert {answer.status_code for answer in preflights.values()} == {403}


_PREFLIGHT = {
    "origin": EVIL,
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization",
}


async def _ask(
    address: str, routes: list[tuple[str, str]], headers: dict[str, str]
) -> dict[tuple[str, str], httpx.Response]:
    """The answer of every route, many asked at once."""
    room = asyncio.Semaphore(AT_ONCE)
    async with httpx.AsyncClient(base_url=address, trust_env=False, timeout=120) as client:

        async def one(method: str, path: str) -> httpx.Response:
            async with room:
                return await client.request(method, path, headers=headers)

        answers = await asyncio.gather(*(one(*route) for route in routes))
    return dict(zip(routes, answers, strict=True))


def test_no_route_of_prefect_answers_strangers(up):
    from prefect.server.api.server import create_app

    routes = [route for route in asgi_routes(create_app().routes) if route[0] != "WEBSOCKET"]
    assert len(routes) > 150 and ("POST", "/api/flows/") in routes
    _attack(up.prefect, routes, "/api/health")


def test_no_route_of_mlflow_answers_strangers(up, tmp_path):
    command = [sys.executable, "-c", MLFLOW_ROUTES, f"sqlite:///{tmp_path}/routes.db"]
    environment = os.environ | {"VIDRD_HOME": str(tmp_path / "home")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    routes = [(method, path) for method, path in json.loads(done.stdout.splitlines()[-1])]
    paths = {path for _, path in routes}
    for known in ("/graphql", "/get-artifact", "/api/2.0/mlflow/runs/create", "/api/2.0/mlflow/users/create"):
        assert known in paths
    assert any("assistant" in path for path in paths) and any("jobs" in path for path in paths)
    _attack(up.mlflow, routes, "/health")


def test_no_socket_of_prefect_opens_for_strangers(up):
    from prefect.server.api.server import create_app
    from websockets.exceptions import WebSocketException
    from websockets.sync.client import connect

    paths = [path for method, path in asgi_routes(create_app().routes) if method == "WEBSOCKET"]
    assert len(paths) >= 5
    auth = f"vidrd:{secret('prefect')}"
    address = up.prefect.replace("http", "ws")

    def open_socket(path: str, token: str | None, **options: object) -> str:
        with connect(address + path, subprotocols=["prefect"], proxy=None, **options) as socket:
            socket.send(json.dumps({"type": "auth", "token": token}))
            return str(json.loads(socket.recv(timeout=30))["type"])

    for path in paths:
        assert open_socket(path, auth) == "auth_success"
        for token, options in (
            (None, {}),
            ("wrong", {}),
            (auth, {"origin": "http://evil.example"}),
            (auth, {"additional_headers": {"Host": "evil.example"}}),
        ):
            with pytest.raises(WebSocketException):
                open_socket(path, token, **options)


@pytest.mark.parametrize("name", ["prefect", "mlflow"])
def test_a_link_opens_the_pages_of_either_server(up, name):
    address = getattr(up, name)
    page = {"accept": "text/html"}
    with httpx.Client(base_url=address, trust_env=False, follow_redirects=True) as browser:
        assert browser.get("/", headers=page).status_code == 401
        opened = browser.get(Login(name, secret(name)).new_link(address), headers=page)
        assert opened.status_code == 200 and "<html" in opened.text.lower()
        own = {"origin": address, "sec-fetch-site": "same-origin"}
        if name == "prefect":
            assert browser.get("/ui-settings").json()["auth"] is None
            assert browser.post("/api/flows/filter", json={}, headers=own).status_code == 200
        else:
            searched = browser.post(
                "/ajax-api/2.0/mlflow/experiments/search", json={"max_results": 9}, headers=own
            )
            assert searched.status_code == 200, searched.text
        assert (
            browser.post("/api/flows/filter", json={}, headers={"origin": "http://evil.example"}).status_code
            == 403
        )


def _shell(up: Up, script: str) -> subprocess.CompletedProcess[str]:
    """A fresh shell in the repository: nothing is exported but where the data lie."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ}
    environment = kept | {
        "VIDRD_HOME": str(up.home),
        "PREFECT_HOME": str(up.home / "prefect"),
        "COLUMNS": "200",
    }
    folder = Path(sys.executable).parent
    environment["PATH"] = f"{folder}{os.pathsep}{kept['PATH']}"
    return subprocess.run(["sh", "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True)


def test_prefect_works_from_a_fresh_shell_and_the_worker_runs_what_it_is_asked(up):
    from prefect.client.orchestration import get_client
    from prefect.settings import temporary_settings

    listed = _shell(up, "prefect deployment ls")
    assert listed.returncode == 0 and "build-dataset/build-dataset" in listed.stdout, listed.stderr
    deployed = _shell(up, "prefect --no-prompt deploy --all")
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    # Nothing to promote: the run ends at once, with what the registry behind MLflow's door says.
    run = _shell(up, "prefect deployment run promote --watch")
    assert "Created flow run" in run.stdout, run.stdout + run.stderr
    with temporary_settings(settings_for(up.prefect_api)), get_client(sync_client=True) as client:
        (found,) = [flow_run for flow_run in client.read_flow_runs() if not flow_run.auto_scheduled]
        assert found.state.is_final() and not found.state.is_crashed(), found.state
        assert "candidate" in (found.state.message or ""), found.state
        assert client.read_logs()  # the run's process sent them


def test_mlflow_works_from_a_fresh_shell_that_has_read_up_env(up):
    done = _shell(up, f". {up.home}/up.env; mlflow experiments search")
    assert done.returncode == 0 and "Default" in done.stdout, done.stdout + done.stderr
    refused = _shell(up, f"MLFLOW_TRACKING_URI={up.mlflow} mlflow experiments search")
    assert refused.returncode != 0 and "secret" in refused.stdout + refused.stderr


def test_no_secret_is_an_argument_of_any_process(up):
    everywhere = "\0".join(part for process in psutil.process_iter() for part in _arguments(process))
    assert not [name for name, value in up.secrets.items() if value in everywhere]
    ours = [_arguments(process) for process in psutil.process_iter() if _belongs_to(process, up.home)]
    modules = {arguments[2] for arguments in ours if arguments[1:2] == ["-m"]}
    assert {"flows.up.prefect_app", "flows.up.mlflow_app"} <= modules
    # The address of the store may hold a password.
    assert not any("sqlite:" in part for arguments in ours for part in arguments)


def _arguments(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def _belongs_to(process: psutil.Process, home: Path) -> bool:
    try:
        return process.environ().get("VIDRD_HOME") == str(home)
    except psutil.Error:
        return False


def test_everything_listens_on_the_loopback_only(up):
    addresses = set()
    for process in psutil.process_iter():
        if _belongs_to(process, up.home):
            found = process.net_connections(kind="inet")
            addresses |= {c.laddr.ip for c in found if c.status == psutil.CONN_LISTEN}
    assert addresses == {"127.0.0.1"}


@pytest.mark.parametrize("name", ["prefect", "mlflow"])
def test_the_port_of_a_server_that_died_is_nobody_elses(up, name):
    """Whoever took it would be told the secret by our clients, which the worker among them is every few seconds."""
    address = getattr(up, name)
    (server,) = [
        process
        for process in psutil.process_iter()
        if f"flows.up.{name}_app" in _arguments(process) and _belongs_to(process, up.home)
    ]
    server.kill()
    server.wait(timeout=60)
    taken = []
    for _ in until_healthy(f"{address}{'/api' if name == 'prefect' else ''}/health"):
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                other.bind(("127.0.0.1", int(address.rpartition(":")[2])))
                taken.append(other.getsockname())
    assert not taken


def until_healthy(url: str) -> Iterator[None]:
    """Goes on while nothing is answered there; fails after some minutes."""
    deadline_s = time.monotonic() + 300
    answered = threading.Event()

    def ask() -> None:
        while not answered.is_set() and time.monotonic() < deadline_s:
            with suppress(httpx.HTTPError):
                if httpx.get(url, trust_env=False, timeout=5).status_code == 200:
                    answered.set()

    asking = threading.Thread(target=ask)
    asking.start()
    while not answered.wait(0.01):
        assert time.monotonic() < deadline_s, f"{url} never answered"
        yield
    asking.join()


def test_a_file_that_holds_a_secret_is_this_users_alone(up):
    holding = []
    for path in up.home.rglob("*"):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            if any(value.encode() in content for value in up.secrets.values()):
                holding.append(path)
    assert {path.stat().st_mode & 0o077 for path in holding} == {0}
    names = {str(path.relative_to(up.home)) for path in holding}
    assert names == {"secrets/prefect", "secrets/mlflow", "secrets/mlflow-forms", "up.env"}
