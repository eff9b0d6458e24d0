"""The rules before our servers, attacked on Prefect's own application, on every route that it has."""

import asyncio
import base64
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest

from flows.up.access import Access
from flows.up.login import Login
from flows.up.prefect_app import protected
from tests.server_routes import asgi_routes

HOST = "127.0.0.1:4200"
ADDRESS = f"http://{HOST}"
OPEN = {("GET", "/api/health")}
PAGE = {"accept": "text/html", "sec-fetch-mode": "navigate"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Access, Login, list[tuple[str, str]]]]:
    """Prefect's application behind our rules, its login, and all its routes."""
    from prefect.server.api.server import create_app
    from prefect.settings import PREFECT_SERVER_API_AUTH_STRING, temporary_settings

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIDRD_HOME", str(tmp_path_factory.mktemp("home")))
        login = Login("prefect", "the-secret-of-this-server")
        with temporary_settings({PREFECT_SERVER_API_AUTH_STRING: auth_string(login)}):
            app = create_app(ignore_cache=True)
            yield protected(app, ADDRESS, auth_string(login), login), login, list(asgi_routes(app.routes))


@pytest.fixture
def app(served):
    return served[0]


@pytest.fixture
def login(served):
    return served[1]


@pytest.fixture
def basic(login):
    return {"authorization": "Basic " + base64.b64encode(auth_string(login).encode()).decode()}


@pytest.fixture
def http_routes(served):
    routes = [(method, path) for method, path in served[2] if method != "WEBSOCKET"]
    assert len(routes) > 150
    return routes


@pytest.fixture
def sockets(served):
    paths = [path for method, path in served[2] if method == "WEBSOCKET"]
    assert len(paths) >= 5
    return paths


def auth_string(login: Login) -> str:
    return f"vidrd:{login.secret}"


def ask_all(
    app: Any, requests: list[tuple[str, str]], **headers: str
) -> dict[tuple[str, str], httpx.Response]:
    async def run() -> dict[tuple[str, str], httpx.Response]:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url=ADDRESS) as client:
            return {
                (method, path): await client.request(method, path, headers=headers)
                for method, path in requests
            }

    return asyncio.run(run())


def ask(app: Any, method: str, path: str, **headers: str) -> httpx.Response:
    return ask_all(app, [(method, path)], **headers)[method, path]


def test_without_the_secret_no_route_answers(app, http_routes):
    for headers in (
        {},
        {"authorization": "Basic eA=="},
        {"authorization": "Bearer x"},
        {"cookie": "vidrd-prefect=1.x.y"},
    ):
        answers = ask_all(app, http_routes, **headers)
        assert {route for route, answer in answers.items() if answer.status_code != 401} == OPEN, headers


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:4200",
        "127.0.0.1",
        "127.0.0.1:4201",
        "127.0.0.1:4200.evil.example",
        "0.0.0.0:4200",
    ],
)
def test_under_a_strangers_name_no_route_answers_even_with_the_secret(app, http_routes, basic, host):
    answers = ask_all(app, http_routes, **basic, host=host)
    assert {answer.status_code for answer in answers.values()} == {403}


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "http://127.0.0.1:8080",
        "https://127.0.0.1:4200",
        "http://localhost:4200",
        "",
    ],
)
def test_for_a_page_of_another_origin_no_route_answers_even_with_the_secret(app, http_routes, basic, origin):
    answers = ask_all(app, http_routes, **basic, origin=origin)
    assert {answer.status_code for answer in answers.values()} == {403}


def test_programs_come_in_with_the_secret(app, basic):
    assert ask(app, "GET", "/api/version", **basic).status_code == 200
    assert ask(app, "GET", "/api/version", **basic, origin=ADDRESS).status_code == 200
    assert ask(app, "GET", "/api/health").status_code == 200


def test_a_link_opens_the_pages_once(app, login):
    link = login.new_link(ADDRESS)
    answer = ask(app, "GET", link, **PAGE)
    assert (answer.status_code, answer.headers["location"]) == (303, f"{ADDRESS}/")
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    value = cookie.split(";")[0]
    assert login.secret not in value
    assert ask(app, "GET", "/api/version", cookie=value).status_code == 200
    assert ask(app, "GET", link, **PAGE).status_code == 401
    assert ask(app, "GET", "/vidrd-login?token=", **PAGE).status_code == 401
    assert ask(app, "GET", "/vidrd-login", **PAGE).status_code == 401


def test_links_that_were_not_opened_can_be_forgotten(app, login):
    link = login.new_link(ADDRESS)
    login.forget_links()
    assert ask(app, "GET", link, **PAGE).status_code == 401


def test_a_link_opened_under_a_strangers_name_is_not_used_up(app, login):
    link = login.new_link(ADDRESS)
    assert ask(app, "GET", link, **PAGE, host="evil.example").status_code == 403
    assert ask(app, "GET", link, **PAGE).status_code == 303


def test_a_cookie_is_taken_from_us_only_and_for_its_time(app, login):
    def version(cookie: str) -> int:
        return ask(app, "GET", "/api/version", cookie=f"{login.cookie_name}={cookie}").status_code

    assert version(login.new_cookie()) == 200
    assert version(login.new_cookie()[:-1] + "0") in (200, 401)  # may be the digit that it was
    assert version(f"{int(time.time()) + 999}.x.{'0' * 64}") == 401
    assert version(Login("prefect", login.secret, cookie_seconds=-1).new_cookie()) == 401
    assert version(Login("mlflow", login.secret).new_cookie()) == 401
    assert version(Login("prefect", "another").new_cookie()) == 401
    assert version("") == version("..") == version("%FC.1.2") == 401


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_cookie_counts_for_our_own_pages_only(app, login, http_routes, site):
    cookie = f"{login.cookie_name}={login.new_cookie()}"
    answers = ask_all(
        app, http_routes, cookie=cookie, **{"sec-fetch-site": site, "sec-fetch-mode": "no-cors"}
    )
    assert {route for route, answer in answers.items() if answer.status_code != 403} == OPEN
    followed = {"cookie": cookie, "sec-fetch-site": site, "sec-fetch-dest": "document", **PAGE}
    assert ask(app, "GET", "/docs", **followed).status_code == 200  # a link that a person followed


def test_a_page_without_a_cookie_says_how_to_get_one(app):
    answer = ask(app, "GET", "/", **PAGE)
    assert answer.status_code == 401
    assert "vidrd up" in answer.text
    assert (
        "www-authenticate" not in answer.headers
    )  # a browser would keep the secret and send it for any site


def test_pages_under_the_name_localhost_move_to_the_address(app):
    answer = ask(app, "GET", "/runs?a=%0d%0ab", **PAGE, host="localhost:4200")
    assert (answer.status_code, answer.headers["location"]) == (307, f"{ADDRESS}/runs?a=%0d%0ab")


def test_prefects_pages_do_not_ask_for_the_secret(app, basic):
    answer = ask(app, "GET", "/ui-settings", **basic, **{"accept-encoding": "gzip"})
    assert answer.json()["auth"] is None
    assert answer.json()["api_url"]


def test_the_pages_tell_nobody_else_what_they_show(app, basic):
    """Prefect's page has a recorder of sessions in it, which asks elsewhere even where analytics are off."""
    policies = ask(app, "GET", "/v2/", **basic).headers.get_list("content-security-policy")
    (connect,) = [policy.split()[1:] for policy in policies if policy.startswith("connect-src")]
    assert set(connect) == {"'self'", f"ws://{HOST}"}


def test_no_other_page_may_show_ours_in_a_frame(app, basic):
    for answer in (ask(app, "GET", "/docs", **basic), ask(app, "GET", "/docs", **PAGE)):
        assert "frame-ancestors 'self'" in answer.headers["content-security-policy"]


def test_two_hosts_or_origins_are_none(app, basic):
    async def status(headers: list[tuple[bytes, bytes]]) -> int:
        scope = {"type": "http", "method": "GET", "path": "/api/version", "raw_path": b"/api/version"}
        scope |= {
            "query_string": b"",
            "headers": [*headers, *((k.encode(), v.encode()) for k, v in basic.items())],
        }
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            return {"type": "http.request"}

        await app({**scope, "http_version": "1.1", "scheme": "http"}, receive, send)
        return int(sent[0]["status"])

    ours = (b"host", HOST.encode())
    assert asyncio.run(status([ours])) == 200
    assert asyncio.run(status([ours, (b"host", b"evil.example")])) == 403
    assert asyncio.run(status([])) == 403
    assert (
        asyncio.run(status([ours, (b"origin", ADDRESS.encode()), (b"origin", b"http://evil.example")])) == 403
    )


def connect(app: Any, path: str, token: str | None, **headers: str) -> Any:
    """What a socket answers to the first message of Prefect's protocol; an exception where it is closed."""
    from starlette.testclient import TestClient

    client = TestClient(app)
    with client.websocket_connect(f"ws://{HOST}{path}", headers=headers, subprotocols=["prefect"]) as socket:
        socket.send_json({"type": "auth", "token": token})
        return socket.receive_json()


def test_sockets_open_with_the_secret_or_the_cookie(app, login, basic, sockets):
    success = {"type": "auth_success"}
    cookie = f"{login.cookie_name}={login.new_cookie()}"
    for path in sockets:
        assert connect(app, path, auth_string(login)) == success
        assert connect(app, path, auth_string(login), **basic) == success
        assert connect(app, path, None, cookie=cookie, origin=ADDRESS) == success
        assert connect(app, path, "of an earlier server", cookie=cookie, origin=ADDRESS) == success


@pytest.mark.parametrize(
    "headers", [{"host": "evil.example"}, {"origin": "http://evil.example"}, {"origin": "null"}]
)
def test_sockets_stay_shut_for_strangers_even_with_the_secret(app, login, basic, sockets, headers):
    from starlette.websockets import WebSocketDisconnect

    for path in sockets:
        with pytest.raises(WebSocketDisconnect):
            connect(app, path, auth_string(login), **basic, **headers)


@pytest.mark.parametrize("token", [None, "", "wrong", "vidrd:", 7])
def test_sockets_stay_shut_without_the_secret(app, sockets, token):
    from starlette.websockets import WebSocketDisconnect

    for path in sockets:
        with pytest.raises(WebSocketDisconnect):
            connect(app, path, token)


def test_a_socket_that_tells_before_it_is_told_the_secret_is_not_heard():
    """Prefect's own sockets wait; one that does not must not leak."""
    from starlette.testclient import TestClient
    from starlette.websockets import WebSocket, WebSocketDisconnect

    async def hasty(scope: Any, receive: Any, send: Any) -> None:
        socket = WebSocket(scope, receive, send)
        await socket.accept()
        await socket.send_text("everything")
        with suppress(WebSocketDisconnect):
            await socket.receive_text()
            await socket.send_text("known")

    login = Login("prefect", "x")
    client = TestClient(Access(hasty, ADDRESS, auth_string(login), login))
    with client.websocket_connect(f"ws://{HOST}/") as socket:
        socket.send_json({"type": "auth", "token": auth_string(login)})
        assert socket.receive_text() == "known"
    with client.websocket_connect(f"ws://{HOST}/") as socket, pytest.raises(WebSocketDisconnect):
        socket.send_text("let me in")
        socket.receive_text()


def test_what_is_shown_of_the_rules_holds_no_secret(app, login):
    assert not re.search(login.secret, repr(app) + repr(login))
