"""The server that Prefect starts for a program which runs a flow here: shut to all but that program.

No command starts one; a script of somebody's own does, where no server is set up. Outside of /api, where the data are,
Prefect serves the description of its interface to whoever asks.
"""

import os

import httpx
import psutil
import pytest

from tests.server_routes import asgi_routes


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

    routes = [
        (method, path)
        for method, path in asgi_routes(create_app(ephemeral=True).routes)
        if method != "WEBSOCKET" and path.startswith("/api/")
    ]
    assert len(routes) > 150
    user, _, password = auth.partition(":")
    with httpx.Client(base_url=address, trust_env=False) as client:
        for method, path in routes:
            expected = 200 if path in ("/api/health", "/api/ready") else 401
            assert client.request(method, path).status_code == expected, (method, path)
            answer = client.request(method, path, auth=(user, f"{password}x"))
            assert answer.status_code == expected, (method, path)


def test_the_program_that_started_it_is_let_in(address):
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
