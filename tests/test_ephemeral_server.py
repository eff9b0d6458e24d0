"""The Prefect server that a command starts for itself: shut to all but that command, on every route."""

import os
import socket
import threading
from contextlib import suppress

import httpx
import psutil
import pytest

from tests.server_routes import asgi_routes
from tests.up_children import free_port


@pytest.fixture
def address(prefect_session: None) -> str:
    from prefect.settings import PREFECT_API_URL

    return PREFECT_API_URL.value().removesuffix("/api")


@pytest.fixture
def auth() -> str:
    from prefect.settings import PREFECT_API_AUTH_STRING

    return str(PREFECT_API_AUTH_STRING.value())


def test_no_route_answers_strangers(address, auth):
    from prefect.server.api.server import create_app

    routes = [route for route in asgi_routes(create_app(ephemeral=True).routes) if route[0] != "WEBSOCKET"]
    assert len(routes) > 150
    user, _, password = auth.partition(":")
    with httpx.Client(base_url=address, trust_env=False) as client:
        for method, path in routes:
            expected = 200 if path == "/api/health" else 401
            assert client.request(method, path).status_code == expected, (method, path)
            for headers in ({"host": "evil.example"}, {"origin": "http://evil.example"}, {"origin": "null"}):
                answer = client.request(method, path, headers=headers, auth=(user, password))
                assert answer.status_code == 403, (method, path, headers)


def test_the_command_that_started_it_is_let_in(address):
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        assert client.read_flows() is not None


def test_its_secret_is_in_no_argument_and_it_listens_on_the_loopback(address, auth):
    port = int(address.rpartition(":")[2])
    (server,) = [
        process for process in psutil.Process().children(recursive=True) if str(port) in process.cmdline()
    ]
    assert auth.partition(":")[2] not in " ".join(server.cmdline())
    assert server.environ()["PREFECT_SERVER_API_AUTH_STRING"] == auth  # its owner's to read
    assert os.stat(f"/proc/{server.pid}/environ").st_mode & 0o077 == 0
    listening = [c.laddr.ip for c in server.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert listening == ["127.0.0.1"]


@pytest.mark.slow
def test_nobody_else_can_take_its_port_while_it_starts(tmp_home):
    """Its number is an argument, so another user could be there before it, and be told the secret."""
    from prefect.server.api.server import SubprocessASGIServer

    from flows.runs.prefect_access import sign_in

    sign_in()
    server = SubprocessASGIServer(free_port())  # by its port, since one without may run already
    starting = threading.Thread(target=server.start, args=(300,))
    starting.start()
    taken = []
    try:
        while starting.is_alive():
            if server.server_process is not None and server.port is not None:
                with socket.socket() as other, suppress(OSError):
                    other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    other.bind(("127.0.0.1", server.port))
                    taken.append(server.port)
            starting.join(0.01)
        assert httpx.get(f"{server.api_url}/health", trust_env=False).status_code == 200
    finally:
        server.stop()
    assert not taken
